// What the executions of a flow took, for the charts of them. Pure.
import type { Schemas } from '../../api/client'
import { median } from '../../components/outliers'
import { toneOf } from '../../components/Status.svelte'
import type { Point } from '../../components/Trend.svelte'

export type Execution = Schemas['ExecutionResponse']
export type Measure = 'seconds' | 'bytes'

/**
 * Return the executions that began and have ended, the oldest first; they are given the newest first. A retry, which is
 * of some VMs alone, and one that failed or was cancelled, are not compared with the others.
 */
export function measured(executions: readonly Execution[], measure: Measure): Point[] {
  return executions
    .filter((one) => one.started_at !== null && one.completed_at !== null)
    .map((one) => ({
      id: one.id,
      value: measure === 'seconds' ? one.execution_time_seconds : one.bytes_transferred,
      kind: one.retry_of === null && (one.status === 'success' || one.status === 'warning') ? 'whole' : null,
      at: one.started_at ?? one.created_at,
      href: `/executions/${encodeURIComponent(one.id)}`,
      state: one.status,
      tone: toneOf(one.status),
    }))
    .reverse()
}

/** Return how many seconds the whole of a flow takes as a rule; null when it has not run yet. */
export function usually(executions: readonly Execution[]): number | null {
  const whole = measured(executions, 'seconds').filter((one) => one.kind !== null)
  return median(whole.flatMap((one) => (one.value === null ? [] : [one.value])))
}

/** Of a hundred, how far an execution is: by VMs that are done, in whatever way. */
export function progress(
  one: Pick<Execution, 'jobs_created' | 'jobs_completed' | 'jobs_failed' | 'jobs_skipped'>,
): number {
  const done = one.jobs_completed + one.jobs_failed + one.jobs_skipped
  return one.jobs_created === 0 ? 0 : Math.floor((100 * done) / one.jobs_created)
}
