import { expect, test } from 'vitest'

import { hoursFrom, instant, local, nextHour } from './instants'

test('a field of date and time holds an instant, to the minute', () => {
  const at = new Date('2026-11-25T05:07:00Z')
  expect(instant(local(at))).toBe('2026-11-25T05:07:00.000Z')
  expect([instant(''), instant('soon')]).toEqual([null, null])
})

test('later', () => {
  const at = new Date(2026, 10, 25, 6, 30)
  expect(local(hoursFrom(at, 24))).toBe('2026-11-26T06:30')
  expect(local(nextHour(at, 6))).toBe('2026-11-26T06:00')
  expect(local(nextHour(at, 7))).toBe('2026-11-25T07:00')
})
