import { expect, test } from 'vitest'

import { enrolling } from './command'

test('a one-time token is on no command line', () => {
  const lines = enrolling('https://backup.example.org', 'flowsw_rack-1_secret').split('\n')
  expect(lines[1]).toBe('flowsw_rack-1_secret')
  expect(lines.filter((one) => one.startsWith('flows worker enrol'))[0]).toContain('--token-file - <<')
  expect(lines.filter((one) => one.includes('secret'))).toHaveLength(1)
})
