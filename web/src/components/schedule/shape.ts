// The usual schedules, as one builds them: each is a cron expression, and is found again in it.
import { parse, type Cron, type CronField } from './cron'

export type ShapeKind = 'minutes' | 'hourly' | 'daily' | 'weekly' | 'monthly' | 'custom'
/** Of a month: a day of it, its last one, or the first to the last of its Mondays, Tuesdays … */
export type MonthDay = 'day' | 'last' | 'nth'

/** All that can be set; which of it counts, its kind says. */
export interface Shape {
  kind: ShapeKind
  /** Every so many minutes, or hours. */
  every: number
  /** Past the hour. */
  minute: number
  /** `02:00`. */
  time: string
  /** Sunday is 0. */
  weekdays: number[]
  on: MonthDay
  day: number
  nth: number | 'last'
  weekday: number
}

const USUAL: Shape = {
  kind: 'custom',
  every: 1,
  minute: 0,
  time: '02:00',
  weekdays: [1, 2, 3, 4, 5],
  on: 'day',
  day: 1,
  nth: 1,
  weekday: 6,
}

export const MINUTES = [5, 10, 15, 20, 30] as const
export const HOURS = [1, 2, 3, 4, 6, 8, 12] as const

/** Return the cron expression of a shape; of a custom one, `custom`. */
export function written(shape: Shape, custom: string): string {
  const [hour = 0, minute = 0] = shape.time.split(':').map(Number)
  const at = `${String(minute)} ${String(hour)}`
  switch (shape.kind) {
    case 'minutes':
      return `*/${String(shape.every)} * * * *`
    case 'hourly':
      return `${String(shape.minute)} ${shape.every === 1 ? '*' : `*/${String(shape.every)}`} * * *`
    case 'daily':
      return `${at} * * *`
    case 'weekly':
      return `${at} * * ${week(shape.weekdays)}`
    case 'monthly':
      return `${at} ${month(shape)}`
    case 'custom':
      return custom
  }
}

function week(days: readonly number[]): string {
  const sorted = [...days].sort((a, b) => a - b)
  return sorted.join(',') === '1,2,3,4,5' ? '1-5' : sorted.join(',')
}

function month({ on, day, nth, weekday }: Shape): string {
  if (on === 'day') return `${String(day)} * *`
  if (on === 'last') return 'L * *'
  return nth === 'last' ? `* * L${String(weekday)}` : `* * ${String(weekday)}#${String(nth)}`
}

/** Return what shape an expression has; what is none of the usual ones is custom. */
export function shaped(text: string): Shape {
  const cron = parse(text)
  const found = cron === null || !cron.months.every ? null : usual(cron)
  return { ...USUAL, ...(found ?? {}) }
}

function usual(cron: Cron): Partial<Shape> | null {
  const { minutes, hours, days, weekdays } = cron
  const anyDay = days.every && weekdays.every
  if (anyDay && hours.every && minutes.step !== null && among(MINUTES, minutes.step))
    return { kind: 'minutes', every: minutes.step }
  const minute = only(minutes)
  if (minute === null) return null
  const every = hours.every ? 1 : hours.step
  if (every !== null) return anyDay && among(HOURS, every) ? { kind: 'hourly', every, minute } : null
  const hour = only(hours)
  if (hour === null) return null
  const time = `${String(hour).padStart(2, '0')}:${String(minute).padStart(2, '0')}`
  if (anyDay) return { kind: 'daily', time }
  if (days.every) return ofWeek(weekdays, time)
  return weekdays.every ? ofMonth(days, time) : null
}

function ofWeek({ values, nth }: CronField, time: string): Partial<Shape> | null {
  const [one] = nth
  if (one === undefined) return { kind: 'weekly', time, weekdays: values }
  if (nth.length > 1 || values.length > 0) return null
  return { kind: 'monthly', time, on: 'nth', weekday: one[0], nth: one[1] }
}

function ofMonth(days: CronField, time: string): Partial<Shape> | null {
  if (days.step !== null) return null
  if (days.last) return days.values.length === 0 ? { kind: 'monthly', time, on: 'last' } : null
  const day = only(days)
  return day === null ? null : { kind: 'monthly', time, on: 'day', day }
}

function only({ values, step }: CronField): number | null {
  return values.length === 1 && step === null ? (values[0] ?? null) : null
}

function among(some: readonly number[], value: number): boolean {
  return some.includes(value)
}
