import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

// the engine sees the browser's own host, or it takes the page for one of another site
const engine = { target: process.env.FLOWS_URL ?? 'http://127.0.0.1:8082', changeOrigin: false }

export default defineConfig({
  plugins: [svelte()],
  resolve: process.env.VITEST === undefined ? {} : { conditions: ['browser'] },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // what is inline, the policy of the page refuses
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': engine, '/health': engine, '/schema': engine } },
  preview: { proxy: { '/api': engine, '/health': engine, '/schema': engine } },
  test: { environment: 'jsdom', include: ['src/**/*.test.ts'] },
})
