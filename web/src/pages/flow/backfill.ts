// What a backfill is asked for. Pure.
import { day } from '../../format/time'

export interface Wanted {
  /** As `<input type="datetime-local">` has it, in the reader's zone. */
  from: string
  to: string
  mode: 'missing' | 'failed' | 'all'
  max_concurrent: number | null
}

export const MODES: Record<Wanted['mode'], string> = {
  missing: 'that were never executed',
  failed: 'whose last execution failed or was cancelled',
  all: 'all of them, again',
}

const DAY = 86_400_000

/** Begin with the last week, up to now. */
export function begun(now: Date): Wanted {
  return {
    from: `${day(now.getTime() - 7 * DAY)}T00:00`,
    to: local(now),
    mode: 'missing',
    max_concurrent: 1,
  }
}

function local(at: Date): string {
  const pad = (value: number): string => String(value).padStart(2, '0')
  return `${day(at)}T${pad(at.getHours())}:${pad(at.getMinutes())}`
}

/** Return what the engine is asked; null while a time is missing. */
export function body(
  { from, to, mode, max_concurrent }: Wanted,
  dry_run: boolean,
): { from: string; to: string; mode: Wanted['mode']; max_concurrent: number; dry_run: boolean } | null {
  const [start, end] = [new Date(from), new Date(to)]
  if (Number.isNaN(start.getTime()) || Number.isNaN(end.getTime())) return null
  return {
    ...{ from: start.toISOString(), to: end.toISOString() },
    ...{ mode, max_concurrent: max_concurrent ?? 1, dry_run },
  }
}
