// What range of time is shown, and what has to be read for it. Pure.
import type { Range } from './scale'

export const HOUR = 3_600_000
export const SHORTEST = HOUR / 6
export const LONGEST = 60 * 24 * HOUR
export const USUAL = 48 * HOUR
const PAST = 0.5 // of what is shown around now

/** Which range: so long, around an instant; around now, and with it, when that is null. */
export interface Shown {
  span: number
  at: number | null
}

export function range({ span, at }: Shown, now: number): Range {
  const from = at === null ? now - span * PAST : at - span / 2
  return { from, to: from + span }
}

/** Return a range that is `factor` times as long; `around` stays where it is. Without it the middle, or now, does. */
export function zoomed(shown: Shown, factor: number, now: number, around: number | null = null): Shown {
  const span = Math.min(LONGEST, Math.max(SHORTEST, shown.span * factor))
  if (around === null) return { ...shown, span }
  const { from } = range(shown, now)
  const left = around - (around - from) * (span / shown.span)
  return { span, at: left + span / 2 }
}

/** Return the range by so many milliseconds later. */
export function moved(shown: Shown, by: number, now: number): Shown {
  const { from } = range(shown, now)
  return { span: shown.span, at: from + by + shown.span / 2 }
}

/** Return what to read for a range: more on both sides, and the same for those near to it. */
export function read({ from, to }: Range): Range {
  const step = 2 ** Math.ceil(Math.log2((to - from) / 2))
  return { from: Math.floor(from / step - 0.25) * step, to: Math.ceil(to / step + 0.25) * step }
}
