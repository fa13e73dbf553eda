import { expect, test } from 'vitest'

import { each } from './each'

test('what fails does not stop the others, and each is done once, so many at a time', async () => {
  const seen: number[] = []
  let now = 0
  let most = 0
  const done = await each(
    [1, 2, 3, 4, 5, 6, 7],
    (one) => `vm ${String(one)}`,
    async (one) => {
      now += 1
      most = Math.max(most, now)
      await Promise.resolve()
      now -= 1
      seen.push(one)
      if (one % 3 === 0) throw new Error('not this one')
    },
    undefined,
    2,
  )
  expect(seen.sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7])
  expect(most).toBe(2)
  expect(done).toEqual({
    good: 5,
    failed: [
      ['vm 3', 'not this one'],
      ['vm 6', 'not this one'],
    ],
  })
})
