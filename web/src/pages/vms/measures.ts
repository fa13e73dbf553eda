// What the backups of a VM took, for the charts of them. Pure.
import { madeAt, took, type Backup } from '../../components/restorePoints'
import { toneOf } from '../../components/Status.svelte'
import type { Point } from '../../components/Trend.svelte'

export type Measure = 'seconds' | 'bytes'

/**
 * Return the backups that began and have ended, the oldest first; they are given the newest first. Good ones are
 * compared with those of their kind, full or incremental.
 */
export function measured(backups: readonly Backup[], measure: Measure): Point[] {
  return backups
    .filter((one) => took(one) !== null)
    .map((one) => ({
      id: one.id,
      value: measure === 'seconds' ? took(one) : one.bytes_transferred,
      kind: one.result === 'success' ? one.backup_type : null,
      at: madeAt(one),
      href: `/executions/${encodeURIComponent(one.execution_id)}`,
      state: one.result === 'success' ? one.backup_type : one.result,
      tone: toneOf(one.result),
    }))
    .reverse()
}

/** Whether a backup waits or runs. */
export function open(one: Pick<Backup, 'result'>): boolean {
  return one.result === 'pending' || one.result === 'queued' || one.result === 'running'
}
