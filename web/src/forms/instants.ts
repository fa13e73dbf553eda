// Instants as a form has them: what a field of date and time holds, in the reader's zone, and what the engine takes.

const HOUR = 3_600_000

function two(value: number): string {
  return String(value).padStart(2, '0')
}

/** Return what a field of date and time shows of an instant: `2026-11-25T06:00`. */
export function local(at: Date): string {
  const day = `${String(at.getFullYear())}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}`
}

/** Return the instant that such a field holds, as the engine takes it; null when it holds none. */
export function instant(text: string): string | null {
  const at = new Date(text)
  return text === '' || Number.isNaN(at.getTime()) ? null : at.toISOString()
}

/** Return the instant so many hours from another. */
export function hoursFrom(at: Date, hours: number): Date {
  return new Date(at.getTime() + hours * HOUR)
}

/** Return when it is next so many o'clock, by the reader's clock. */
export function nextHour(at: Date, hour: number): Date {
  const found = new Date(at)
  found.setHours(hour, 0, 0, 0)
  if (found <= at) found.setDate(found.getDate() + 1)
  return found
}
