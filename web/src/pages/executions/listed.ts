// A list of executions, the newest first, of which more is read as one scrolls; its beginning is read anew. Pure.
import type { Schemas } from '../../api/client'

export type Execution = Schemas['ExecutionResponse']
type Placed = Pick<Execution, 'id' | 'created_at'>

/** Return how an execution stands to another in the list: negative when it comes before it. */
export function order(a: Placed, b: Placed): number {
  const [x, y] = [Date.parse(a.created_at), Date.parse(b.created_at)]
  if (x !== y) return y - x
  return a.id === b.id ? 0 : a.id < b.id ? 1 : -1
}

/** Return the list with its beginning as it is now. What has left it is gone; `total`: how many there are in all. */
export function renewed<T extends Placed>(known: readonly T[], head: readonly T[], total: number): T[] {
  const last = head.at(-1)
  if (last === undefined || head.length >= total) return [...head]
  const newest = known[0]
  // so many came at once that between the two some are not known
  if (newest !== undefined && order(newest, last) > 0) return [...head]
  return [...head, ...known.filter((one) => order(one, last) > 0)]
}

/** Return the list with more of it at its end, or with some rows as they are now. */
export function extended<T extends Placed>(known: readonly T[], more: readonly T[]): T[] {
  const all = new Map([...known, ...more].map((one) => [one.id, one]))
  return [...all.values()].sort(order)
}

/** What an execution came from. */
export type Kind = Schemas['Bar']['kind']
export const KINDS: Record<Kind, { text: string; sign: string }> = {
  scheduled: { text: 'scheduled', sign: '◷' },
  manual: { text: 'manual', sign: '☞' },
  backfill: { text: 'backfill', sign: '⟲' },
  retry: { text: 'retry', sign: '↻' },
}

export function kindOf(one: Pick<Execution, 'retry_of' | 'backfill_id' | 'execution_type'>): Kind {
  if (one.retry_of !== null) return 'retry'
  if (one.backfill_id !== null) return 'backfill'
  return one.execution_type === 'scheduled' ? 'scheduled' : 'manual'
}

/** Return how many VMs of an execution have ended, and how many there are. */
export function ended(one: Execution): { done: number; of: number } {
  return { done: one.jobs_completed + one.jobs_failed + one.jobs_skipped, of: one.jobs_created }
}

export function mayCancel(one: Execution): boolean {
  return one.completed_at === null
}

/** Tell whether what was not backed up can be tried again. */
export function mayRetry(one: Execution): boolean {
  return !mayCancel(one) && one.started_at !== null && one.flow_id !== null && one.status !== 'success'
}

/** Return how long an execution took, or takes, in seconds; null before it began. */
export function secondsOf(one: Execution, now: Date): number | null {
  if (one.started_at === null) return null
  return one.execution_time_seconds ?? Math.max(0, (now.getTime() - Date.parse(one.started_at)) / 1000)
}
