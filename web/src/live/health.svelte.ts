// Whether the engine does its work: what a page shows above everything else when it does not.
import { client } from '../api/client'

const EVERY = 10_000 // milliseconds

class Health {
  /** What is wrong, in the engine's words; empty when nothing is. */
  wrong = $state<string[]>([])
  reachable = $state(true)
  /** Since when something has been wrong, in milliseconds. */
  since = $state<number | null>(null)

  start(): () => void {
    void this.look()
    const timer = setInterval(() => {
      if (!document.hidden) void this.look()
    }, EVERY)
    return () => {
      clearInterval(timer)
    }
  }

  async look(): Promise<void> {
    try {
      const { data, error } = await client.GET('/health/ready')
      const ready = data ?? (error as unknown as typeof data)
      this.reachable = true
      this.wrong = Object.entries(ready?.parts ?? {})
        .filter(([, state]) => state !== 'ok')
        .map(([part, state]) => `${part}: ${state}`)
    } catch {
      this.reachable = false
      this.wrong = []
    }
    if (this.reachable && this.wrong.length === 0) this.since = null
    else this.since ??= Date.now()
  }
}

export const health = new Health()
