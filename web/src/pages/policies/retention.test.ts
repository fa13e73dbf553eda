import { expect, test } from 'vitest'

import { extent, retention } from './retention'

test.each([
  [{}, 'everything'],
  [{ keep_last: null, keep_daily: null }, 'everything'],
  [{ keep_last: 0 }, 'nothing beyond the newest'],
  [{ keep_last: 1 }, 'the last one'],
  [{ keep_last: 3, keep_daily: 7, keep_weekly: 4 }, 'the last 3, one of each of 7 days and 4 weeks'],
  [{ keep_daily: 7, keep_weekly: 4, keep_monthly: 12 }, 'one of each of 7 days, 4 weeks and 12 months'],
])('%j keeps %s', (policy, said) => {
  expect(retention(policy)).toBe(said)
})

test('how many, and how far back', () => {
  expect(extent({ keep_last: 3, keep_daily: 7, keep_weekly: 4 })).toEqual({ backups: 14, days: 28 })
  expect(extent({})).toBeNull()
})
