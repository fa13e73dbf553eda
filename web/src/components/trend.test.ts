import { expect, test } from 'vitest'

import { told, trend, type Measured } from './trend'

const WORDS = { low: 'too fast', high: 'too slow' }

function some(values: (number | null)[], kind: string | null = 'full'): Measured[] {
  return values.map((value, n) => ({ id: `${kind ?? ''}${String(n)}`, value, kind }))
}

test('bars are as high as they are, beside the largest', () => {
  expect(trend(some([5, null, 10, 0])).bars.map((one) => one.height)).toEqual([0.5, 0, 1, 0])
  expect(trend(some([0, 0])).bars.map((one) => one.height)).toEqual([0, 0])
  expect(trend([])).toEqual({ bars: [], top: 0, band: null })
})

test('those of a kind are compared: an incremental one is not too small beside full ones', () => {
  const usual = some([100, 101, 99, 100, 102, 98, 100, 101, 300])
  const found = trend([...usual, ...some([10, 11], 'incremental'), ...some([1000], null)])
  expect(found.bars.filter((one) => one.unusual !== null)).toEqual([
    expect.objectContaining({ id: 'full8', unusual: 'high' }),
  ])
  expect([found.band?.median, found.top]).toEqual([100, 1000])
})

test('what is to be seen is said', () => {
  const seconds = (value: number): string => `${String(value)} s`
  expect(told(trend(some([1, 2])), seconds, WORDS)).toBe('Too few yet to say what is usual.')
  const steady = [100, 101, 99, 100, 102, 98, 100, 101]
  expect(told(trend(some(steady)), seconds, WORDS)).toBe('Usually 100 s; of the last 8, none is unusual.')
  expect(told(trend(some([...steady, 500, 600, 3])), seconds, WORDS)).toBe(
    'Usually 100 s; of the last 11, 2 too slow, 1 too fast.',
  )
})
