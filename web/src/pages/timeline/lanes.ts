// What overlaps: on lanes of their own in a flow's row, and how many there are at once. Pure.
import type { Range } from './scale'

export interface Lanes<T> {
  placed: { one: T; lane: number }[]
  /** How many lanes there are; at least one. */
  count: number
}

/** Place what overlaps on lanes, the first that is free; beyond `most` the last lane takes all. */
export function lanes<T extends Range>(items: readonly T[], most = 3): Lanes<T> {
  const ends: number[] = []
  const placed = [...items]
    .sort((a, b) => a.from - b.from)
    .map((one) => {
      const free = ends.findIndex((end) => end <= one.from)
      const lane = free >= 0 ? free : Math.min(ends.length, most - 1)
      ends[lane] = Math.max(ends[lane] ?? 0, one.to)
      return { one, lane }
    })
  return { placed, count: Math.max(1, ends.length) }
}

export interface Step {
  at: number
  /** How many there are from then on. */
  count: number
}

/** Return how many ranges there are at once, as steps in order; one that ends as another begins is not beside it. */
export function concurrency(ranges: Iterable<Range>): Step[] {
  const changes: [number, number][] = []
  for (const one of ranges) if (one.to > one.from) changes.push([one.from, 1], [one.to, -1])
  changes.sort((a, b) => a[0] - b[0])
  const steps: Step[] = []
  let count = 0
  for (const [at, by] of changes) {
    count += by
    const last = steps.at(-1)
    if (last?.at === at) last.count = count
    else steps.push({ at, count })
  }
  return steps.filter((one, n) => one.count !== (steps[n - 1]?.count ?? 0))
}

/** Return the most there are at once in a range, and since when; null when there is nothing. */
export function peak(steps: readonly Step[], { from, to }: Range): Step | null {
  let most: Step | null = null
  for (const [n, one] of steps.entries()) {
    const end = steps[n + 1]?.at ?? one.at
    if (end > from && one.at < to && one.count > (most?.count ?? 0)) most = one
  }
  return most === null ? null : { ...most, at: Math.max(from, most.at) }
}

/** Return the outline of steps, as the path of an SVG, from `height` upwards to where `most` is 0. */
export function outline(
  steps: readonly Step[],
  x: (at: number) => number,
  height: number,
  most: number,
): string {
  const place = (value: number): string => String(Math.round(value * 10) / 10)
  const parts: string[] = []
  for (const one of steps) {
    const y = height - (height * one.count) / Math.max(1, most)
    parts.push(
      parts.length === 0 ? `M${place(x(one.at))} ${place(height)}` : `H${place(x(one.at))}`,
      `V${place(y)}`,
    )
  }
  return parts.length === 0 ? '' : `${parts.join('')}Z`
}
