import { expect, test } from 'vitest'

import { median, outlier, usual } from './outliers'

test.each([
  [[], null],
  [[3], 3],
  [[9, 1, 3], 3],
  [[4, 1, 2, 3], 2.5],
])('the median of %j is %j', (values, middle) => {
  expect(median(values)).toBe(middle)
})

test('of few values none is unusual', () => {
  expect(usual([10, 10, 10, 10, 10, 10, 500])).toBeNull()
  expect(outlier(500, null)).toBeNull()
})

test('a backup that takes ten times as long is too slow, and one that takes a tenth too fast', () => {
  const among = usual([100, 104, 98, 101, 97, 103, 99, 102])
  expect([10, 99, 120, 1000].map((value) => outlier(value, among))).toEqual(['low', null, null, 'high'])
})

test('values that are all the same do not make a small difference unusual', () => {
  const among = usual([60, 60, 60, 60, 60, 60, 60, 60, 60])
  expect([61, 74, 76, 44].map((value) => outlier(value, among))).toEqual([null, null, 'high', 'low'])
})

test('one that is far away does not hide another', () => {
  const among = usual([50, 52, 51, 49, 50, 48, 5000, 4000])
  expect(outlier(4000, among)).toBe('high')
})
