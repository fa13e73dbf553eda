import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { Query } from './query.svelte'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('what was heard before it was read by hand is read once more, as the tables may not have had it', async () => {
  const load = vi.fn(() => Promise.resolve(1))
  const query = new Query(load, {})
  await query.refresh()
  query.hear()
  await query.refresh()
  await vi.advanceTimersByTimeAsync(2_000)
  expect(load).toHaveBeenCalledTimes(3)
})
