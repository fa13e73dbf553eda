// Times for people: in the reader's zone, short, and how long ago.

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone

const MINUTE = 60_000
const DAY = 86_400_000
const APART = 5_000 // milliseconds by which the reader's clock and the engine's may differ

const formats = new Map<string, Intl.DateTimeFormat>()

function format(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = zone + JSON.stringify(options)
  let found = formats.get(key)
  if (found === undefined) {
    found = new Intl.DateTimeFormat('en-GB', { timeZone: zone, ...options })
    formats.set(key, found)
  }
  return found
}

const CLOCK = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const
const SECONDS = { ...CLOCK, second: '2-digit' } as const

/** `2026-11-25` of an instant in a zone. */
export function day(at: Date | number, zone = ZONE): string {
  const parts = format(zone, { year: 'numeric', month: '2-digit', day: '2-digit' }).formatToParts(at)
  const part = (type: string): string => parts.find((one) => one.type === type)?.value ?? ''
  return `${part('year')}-${part('month')}-${part('day')}`
}

/** From when until when a day, `2026-11-25`, is in the reader's zone, as instants; null when that is no day. */
export function bounds(text: string): { from: string; to: string } | null {
  if (!/^\d{4}-\d\d-\d\d$/.test(text)) return null
  const from = new Date(`${text}T00:00:00`)
  if (Number.isNaN(from.getTime())) return null
  const to = new Date(from)
  to.setDate(to.getDate() + 1)
  return { from: from.toISOString(), to: to.toISOString() }
}

/** `2026-11-25T03:00`, an instant in the reader's zone as a field for dates and times has it; '' when it is none. */
export function field(instant: string): string {
  const at = new Date(instant)
  return Number.isNaN(at.getTime()) ? '' : `${day(at)}T${format(ZONE, CLOCK).format(at)}`
}

/** The instant, RFC 3339, that such a field has; null when it has none. */
export function instant(text: string): string | null {
  const at = new Date(text)
  return text === '' || Number.isNaN(at.getTime()) ? null : at.toISOString()
}

/** `Wed 25 Nov 2026` of a day. */
export function named(text: string): string {
  const options: Intl.DateTimeFormatOptions = {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    year: 'numeric',
  }
  return format('UTC', options)
    .format(new Date(`${text}T00:00:00Z`))
    .replace(',', '')
}

/** `03:00`, or with the day when it is another than now: `Wed 25 Nov 03:00`, `25 Nov 2025 03:00`. */
export function short(at: Date, now: Date, zone = ZONE, { seconds = false } = {}): string {
  const clock = format(zone, seconds ? SECONDS : CLOCK).format(at)
  if (day(at, zone) === day(now, zone)) return clock
  const near = Math.abs(at.getTime() - now.getTime()) < 7 * DAY
  const options: Intl.DateTimeFormatOptions = near
    ? { weekday: 'short', day: 'numeric', month: 'short' }
    : { day: 'numeric', month: 'short', year: 'numeric' }
  return `${format(zone, options).format(at).replace(',', '')} ${clock}`
}

/** The whole instant, with its zone: `Wednesday, 25 November 2026 at 03:00:00 CET (Europe/Berlin)`. */
export function long(at: Date, zone = ZONE): string {
  const text = format(zone, { dateStyle: 'full', timeStyle: 'long', hourCycle: 'h23' }).format(at)
  return `${text} (${zone})`
}

/** `just now`, `5 min ago`, `in 3 h`, `12 days ago`. */
export function relative(at: Date, now: Date): string {
  const past = now.getTime() - at.getTime()
  const size = Math.abs(past)
  if (size < MINUTE) return past > -APART ? 'just now' : 'in a moment'
  const text = size < 60 * MINUTE ? `${floor(size / MINUTE)} min` : hours(size)
  return past >= 0 ? `${text} ago` : `in ${text}`
}

function hours(size: number): string {
  if (size < 2 * DAY) return `${floor(size / (60 * MINUTE))} h`
  return `${floor(size / DAY)} days`
}

function floor(value: number): string {
  return String(Math.floor(value))
}

/** `0.8 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${floor(seconds)} s`
  const [big, small, unit, part] =
    seconds < 3600
      ? [seconds / 60, seconds % 60, 'min', 's']
      : seconds < 86_400
        ? [seconds / 3600, (seconds % 3600) / 60, 'h', 'min']
        : [seconds / 86_400, (seconds % 86_400) / 3600, 'd', 'h']
  return Math.floor(small) === 0 ? `${floor(big)} ${unit}` : `${floor(big)} ${unit} ${floor(small)} ${part}`
}

const INSTANT = /(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))/

/** Return a text in parts, every second of which is an instant as RFC 3339 writes it. */
export function instants(text: string): string[] {
  return text.split(INSTANT)
}
