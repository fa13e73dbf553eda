// What a cron expression says, in plain words: `0 2 * * 1-5` is “Monday to Friday at 02:00”.
import { parse, type Cron, type CronField } from './cron'

const WEEKDAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const MONTHS = [
  ...['January', 'February', 'March', 'April', 'May', 'June'],
  ...['July', 'August', 'September', 'October', 'November', 'December'],
]
const NUMBERS = ['first', 'second', 'third', 'fourth', 'fifth']
const MOST_TIMES = 6

/** Return an expression in words; what is none of the usual ones, or no expression at all, is quoted. */
export function reading(cron: string): string {
  const read = parse(cron)
  if (read === null) return `cron “${cron.trim()}”`
  const on = days(read)
  const at = times(read)
  const months = read.months.every ? '' : ` in ${list(runs(read.months.values, (one) => MONTHS[one - 1]))}`
  if (at.startsWith('at ')) return `${on ?? 'every day'} ${at}${months}`
  return `${at}${on === null ? '' : `, ${on}`}${months}`
}

function times({ minutes, hours }: Cron): string {
  const [minute] = minutes.values
  if (hours.every || hours.step !== null) {
    if (minutes.every || minutes.step !== null) {
      const often = interval('minute', minutes)
      return hours.every ? often : `${often} of ${interval('hour', hours)}`
    }
    const past = minutes.values.length === 1 && minute === 0 ? '' : `, ${list(minutes.values.map(pad))} past`
    return interval('hour', hours) + past
  }
  if (minutes.every || minutes.step !== null)
    return `${interval('minute', minutes)} ${list(spans(hours.values))}`
  const all = hours.values.flatMap((hour) => minutes.values.map((one) => `${pad(hour)}:${pad(one)}`))
  if (all.length <= MOST_TIMES) return `at ${list(all)}`
  if (minutes.values.length > 1)
    return `${list(minutes.values.map(pad))} past every hour ${list(spans(hours.values))}`
  const [from, to] = [all[0] ?? '', all.at(-1) ?? '']
  const gap = (hours.values[1] ?? 0) - (hours.values[0] ?? 0)
  const even = hours.values.every((hour, n) => n === 0 || hour - (hours.values[n - 1] ?? 0) === gap)
  return even
    ? `every ${gap === 1 ? 'hour' : `${String(gap)} hours`} from ${from} to ${to}`
    : `at ${list(all)}`
}

/** `every 15 minutes`; what does not divide evenly begins anew each hour or day. */
function interval(unit: 'minute' | 'hour', { step, every }: CronField): string {
  if (every || step === 1 || step === null) return `every ${unit}`
  const [size, whole] = unit === 'minute' ? [60, 'hour'] : [24, 'day']
  return `every ${String(step)} ${unit}s${size % step === 0 ? '' : ` of each ${whole}`}`
}

/** `from 08:00 to 17:59`, for each run of hours. */
function spans(hours: readonly number[]): string[] {
  return consecutive(hours).map(
    (run) => `from ${pad(run[0] ?? 0)}:00 to ${pad(run.at(-1) ?? run[0] ?? 0)}:59`,
  )
}

function days({ days, weekdays }: Cron): string | null {
  const found = [ofMonth(days), ofWeek(weekdays)].filter((one) => one !== null)
  return found.length === 0 ? null : found.join(' and ') // either is enough
}

function ofMonth({ every, step, values, last }: CronField): string | null {
  if (every) return null
  if (step !== null) return step === 1 ? 'every day' : `on every ${ordinal(step)} day of the month`
  const some = runs(values, ordinal)
  if (last) some.push('last day')
  return `on the ${list(some)} of the month`
}

function ofWeek({ every, values, nth }: CronField): string | null {
  if (every) return null
  const some: string[] = []
  const monday = values.map((one) => (one === 0 ? 7 : one)).sort((a, b) => a - b) // the week begins on it
  if (values.length === 7) some.push('every day')
  else if (values.length > 0) {
    const names = runs(monday, (one) => WEEKDAYS[one % 7])
    some.push(
      names.length === 1 && names[0]?.includes(' to ') === true ? (names[0] ?? '') : `every ${list(names)}`,
    )
  }
  for (const [day, number] of nth)
    some.push(
      `on the ${number === 'last' ? 'last' : (NUMBERS[number - 1] ?? '')} ${WEEKDAYS[day] ?? ''} of the month`,
    )
  return some.join(' and ')
}

/** Names of numbers; three and more in a row are `first to last`. */
function runs(values: readonly number[], name: (value: number) => string | undefined): string[] {
  return consecutive(values).flatMap((run) => {
    const [first, last] = [name(run[0] ?? 0) ?? '', name(run.at(-1) ?? 0) ?? '']
    return run.length > 2 ? [`${first} to ${last}`] : run.map((one) => name(one) ?? '')
  })
}

function consecutive(values: readonly number[]): number[][] {
  const found: number[][] = []
  for (const value of values) {
    const run = found.at(-1)
    if (run?.at(-1) === value - 1) run.push(value)
    else found.push([value])
  }
  return found
}

function list(some: readonly string[]): string {
  if (some.length < 2) return some[0] ?? ''
  return `${some.slice(0, -1).join(', ')} and ${some.at(-1) ?? ''}`
}

function ordinal(value: number): string {
  const teen = value % 100 > 10 && value % 100 < 14
  return `${String(value)}${teen ? 'th' : (['th', 'st', 'nd', 'rd'][value % 10] ?? 'th')}`
}

function pad(value: number): string {
  return String(value).padStart(2, '0')
}
