// The five fields of a cron expression, as the engine reads them: numbers and names, lists, ranges, steps, `L` and `#`.

/** What a field says. `every`: it is `*`; `step`: it is that with a step; `values`: all that it matches, sorted. */
export interface CronField {
  every: boolean
  step: number | null
  values: number[]
  /** Days: the last of the month. */
  last: boolean
  /** Weekdays of the month: the second Monday is [1, 2]; the last Friday [5, 'last']. */
  nth: [number, number | 'last'][]
}

export interface Cron {
  minutes: CronField
  hours: CronField
  days: CronField
  months: CronField
  weekdays: CronField
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

const NAMED: Record<string, string> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
}

interface Kind {
  low: number
  high: number
  names?: readonly string[]
  /** Number of the first name. */
  first?: number
  kind: 'plain' | 'days' | 'weekdays'
}

const KINDS: readonly Kind[] = [
  { low: 0, high: 59, kind: 'plain' },
  { low: 0, high: 23, kind: 'plain' },
  { low: 1, high: 31, kind: 'days' },
  { low: 1, high: 12, names: MONTHS, first: 1, kind: 'plain' },
  { low: 0, high: 6, names: WEEKDAYS, first: 0, kind: 'weekdays' },
]

/** Read an expression; null when it is none. */
export function parse(text: string): Cron | null {
  const plain = NAMED[text.trim().toLowerCase()] ?? text
  const parts = plain.trim().toLowerCase().split(/\s+/)
  if (parts.length !== 5) return null
  const fields = parts.map((part, n) => field(part, KINDS[n] as Kind))
  const [minutes, hours, days, months, weekdays] = fields
  if (!minutes || !hours || !days || !months || !weekdays) return null
  return { minutes, hours, days, months, weekdays }
}

function field(text: string, kind: Kind): CronField | null {
  const found: CronField = { every: false, step: null, values: [], last: false, nth: [] }
  const values = new Set<number>()
  for (const part of text.split(',')) {
    if (!take(part, kind, found, values)) return null
  }
  found.values = [...values].sort((a, b) => a - b)
  if (found.every && (values.size > 0 || found.last || found.nth.length > 0)) return null
  return found
}

function take(part: string, kind: Kind, found: CronField, values: Set<number>): boolean {
  if (part === '*' || (part === '?' && kind.kind !== 'plain')) {
    found.every = true
    return true
  }
  if (kind.kind === 'days' && part === 'l') return (found.last = true)
  if (kind.kind === 'weekdays') {
    const last = /^l([0-7])$/.exec(part)
    const nth = /^(\w+)#([1-5])$/.exec(part)
    const day = number(last?.[1] ?? nth?.[1] ?? '', kind)
    if (last !== null || nth !== null) {
      if (day === null) return false
      found.nth.push([day % 7, last !== null ? 'last' : Number(nth?.[2])])
      return true
    }
  }
  return range(part, kind, found, values)
}

function range(part: string, kind: Kind, found: CronField, values: Set<number>): boolean {
  const [span = '', steps, more] = part.split('/')
  const step = steps === undefined ? 1 : /^\d+$/.test(steps) ? Number(steps) : 0
  if (step < 1 || more !== undefined) return false
  const [from, to, third] = span.split('-')
  const low = span === '*' ? kind.low : number(from ?? '', kind)
  const open = span === '*' || (steps !== undefined && to === undefined) // `5/10` goes on to the end
  const high = open ? kind.high : to === undefined ? low : number(to, kind)
  if (low === null || high === null || third !== undefined) return false
  if (span === '*' && steps !== undefined && !part.includes(',')) found.step = step
  const size = kind.high - kind.low + 1
  const length = high >= low ? high - low : high - low + size // over the end: 22-2
  for (let n = 0; n <= length; n += step) values.add(kind.low + ((low - kind.low + n) % size))
  return true
}

function number(text: string, kind: Kind): number | null {
  const named = kind.names?.indexOf(text) ?? -1
  if (named >= 0) return named + (kind.first ?? 0)
  if (!/^\d{1,2}$/.test(text)) return null
  const value = Number(text)
  const high = kind.kind === 'weekdays' ? 7 : kind.high
  return value < kind.low || value > high ? null : value
}
