// Executions in a list: where each came from, what can be done with it, and how far it is.
import type { Schemas } from '../../api/client'

export type Execution = Schemas['ExecutionResponse']
export type Kind = 'scheduled' | 'manual' | 'backfill' | 'retry'

/** What each kind is called, with the shape that tells it apart. */
export const KINDS: Record<Kind, string> = {
  scheduled: '◷ scheduled',
  manual: '☞ by hand',
  backfill: '⟲ backfill',
  retry: '↻ retry',
}

/** Return what an execution came from. */
export function kindOf(one: Pick<Execution, 'retry_of' | 'backfill_id' | 'execution_type'>): Kind {
  if (one.retry_of !== null) return 'retry'
  if (one.backfill_id !== null) return 'backfill'
  return one.execution_type === 'scheduled' ? 'scheduled' : 'manual'
}

/** Return how many VMs of an execution have ended, and how many there are. */
export function ended(one: Execution): { done: number; of: number } {
  return { done: one.jobs_completed + one.jobs_failed + one.jobs_skipped, of: one.jobs_created }
}

export function runs(one: Execution): boolean {
  return one.completed_at === null
}

/** Tell whether what was not backed up can be tried again. */
export function mayRetry(one: Execution): boolean {
  return !runs(one) && one.flow_id !== null && one.status !== 'success'
}

/** Return how long an execution took, or takes, in seconds; null before it began. */
export function secondsOf(one: Execution, now: Date): number | null {
  if (one.started_at === null) return null
  return one.execution_time_seconds ?? Math.max(0, (now.getTime() - Date.parse(one.started_at)) / 1000)
}
