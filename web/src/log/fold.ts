// Lines of the log: what repeats is one line with a count, so that what matters is seen.
import type { LogEvent } from '../live/events'
import { executionOf } from './about'

/** A line: an event, or several of one kind, of which `last` is the newest. */
export interface Line {
  /** The sequence of the first; a line's name. */
  key: number
  first: LogEvent
  last: LogEvent
  count: number
  /** What it is folded with; '' when it stands alone. */
  kind: string
}

/** So many lines may stand between a report of progress and the one that it is folded into. */
const REACH = 40
/** What many VMs or definitions have at once. */
const SERIES = new Set([
  'backup.requested',
  'backup.skipped',
  'backup.abandoned',
  'flow.planned',
  'notification.claimed',
])

/** An import, and what it was asked by: these two come in turns. */
const IMPORTED = /^(catalog|command)\.(vm|group|schedule|repository|policy|flow)(\.create)?$/

/**
 * Return lines with events added at the end. Progress of an execution is one line, wherever it stands among the last
 * few; what many VMs or definitions have at once is one line while nothing comes between. Lines that do not change are
 * the same objects.
 */
export function fold(lines: readonly Line[], events: readonly LogEvent[], folds = true): Line[] {
  const next = [...lines]
  for (const event of events) {
    const kind = folds ? foldedWith(event) : ''
    const at = kind === '' ? -1 : find(next, kind)
    const line = next[at]
    if (line === undefined) next.push({ key: event.sequence, first: event, last: event, count: 1, kind })
    else next[at] = { ...line, last: event, count: line.count + 1 }
  }
  return next
}

function find(lines: readonly Line[], kind: string): number {
  const end = lines.length - 1
  const reach = kind.startsWith('backup.progressed') ? REACH : IMPORTED.test(kind) ? 2 : 1
  for (let n = end; n >= 0 && n > end - reach; n -= 1) {
    const before = lines[n]?.kind ?? ''
    if (before === kind) return n
    if (reach === 2 && !IMPORTED.test(before)) break
  }
  return -1
}

/** Return what an event is folded with; '' when it stands alone. */
function foldedWith(event: LogEvent): string {
  const { type } = event
  if (type === 'backup.progressed' || SERIES.has(type)) return `${type} ${executionOf(event)}`
  return IMPORTED.test(type) ? type : ''
}

/** Return by how many lines what was there has moved down; negative: up, as the first lines are gone. */
export function shift(before: readonly Line[], now: readonly Line[]): number {
  const [was, is] = [before[0]?.key, now[0]?.key]
  if (was === undefined || is === undefined || is === was) return 0
  if (is < was)
    return Math.max(
      0,
      now.findIndex((line) => line.key >= was),
    )
  const gone = before.findIndex((line) => line.key >= is)
  return gone < 0 ? 0 : -gone
}
