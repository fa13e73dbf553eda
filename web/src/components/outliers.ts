// What is unusual among values of one kind, by their own median and how far they usually are from it.

export type Outlier = 'low' | 'high'

const FEWEST = 8 // values, before anything can be called unusual
const FAR = 3.5 // robust deviations from the median: Iglewicz and Hoaglin, How to detect and handle outliers (1993)
const NORMAL = 1.4826 // makes the median absolute deviation a standard deviation, of values that are normally distributed
const LEAST = 0.25 // of the median: what differs by less nobody needs to look at, however regular the others are

export interface Usual {
  median: number
  low: number
  high: number
}

/** Return the middle of values, the mean of two where there is no single one; null of none. */
export function median(values: readonly number[]): number | null {
  const ordered = [...values].sort((a, b) => a - b)
  const half = ordered.length >> 1
  const [upper, lower] = [ordered[half], ordered[half - 1]]
  if (upper === undefined) return null
  return ordered.length % 2 === 1 || lower === undefined ? upper : (lower + upper) / 2
}

/** Return between what values are usual; null while there are too few of them. */
export function usual(values: readonly number[]): Usual | null {
  const middle = median(values)
  if (middle === null || values.length < FEWEST) return null
  const deviation = median(values.map((value) => Math.abs(value - middle))) ?? 0
  const far = Math.max(FAR * NORMAL * deviation, LEAST * middle)
  return { median: middle, low: middle - far, high: middle + far }
}

/** Tell whether a value is unusual, and in which way; null: it is not. */
export function outlier(value: number, among: Usual | null): Outlier | null {
  if (among === null) return null
  if (value < among.low) return 'low'
  return value > among.high ? 'high' : null
}
