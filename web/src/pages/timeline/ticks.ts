// Where the axis of the timeline has ticks: at round times of the reader's day, no nearer than they can be read. Pure.
import type { Scale } from './scale'

export interface Tick {
  x: number
  at: Date
  /** Whether a day begins there. */
  day: boolean
}

const MINUTE = 60_000
const DAY = 1440 // minutes
const STEPS = [1, 5, 15, 30, 60, 120, 180, 360, 720, DAY, 2 * DAY, 7 * DAY] // minutes
const APART = 64 // pixels

/** Return the ticks of a scale, from left to right. */
export function ticks(scale: Scale, apart = APART): Tick[] {
  const wide = scale.pieces.find((one) => !one.squeezed)
  if (wide === undefined || wide.width <= 0) return []
  const pace = wide.width / (wide.to - wide.from)
  const step = STEPS.find((one) => one * MINUTE * pace >= apart) ?? 7 * DAY
  const found: Tick[] = []
  for (const piece of scale.pieces) {
    if (piece.squeezed) continue
    for (const at of rounds(piece.from, piece.to, step)) {
      const x = scale.x(at.getTime())
      const last = found.at(-1)
      if (x < apart / 3 || x > scale.width - apart / 3 || (last !== undefined && x - last.x < apart * 0.8))
        continue
      found.push({ x, at, day: at.getHours() === 0 && at.getMinutes() === 0 })
    }
  }
  return found
}

function* rounds(from: number, to: number, step: number): Generator<Date> {
  const day = new Date(from)
  day.setHours(0, 0, 0, 0)
  for (let n = 0; day.getTime() < to; n += 1) {
    if (step < DAY) {
      for (let minutes = 0; minutes < DAY; minutes += step) {
        const at = new Date(day.getFullYear(), day.getMonth(), day.getDate(), 0, minutes)
        if (at.getTime() >= from && at.getTime() < to) yield at
      }
    } else if (day.getTime() >= from && number(day) % (step / DAY) === 0) yield new Date(day)
    day.setDate(day.getDate() + 1)
  }
}

/** The number of a day since 1970, so that every second day is the same one wherever the axis begins. */
function number(day: Date): number {
  return Math.floor(Date.UTC(day.getFullYear(), day.getMonth(), day.getDate()) / (DAY * MINUTE))
}
