// How far executions are, by their backups. Pure.
import type { Schemas } from '../../api/client'

type Execution = Pick<
  Schemas['ExecutionResponse'],
  'id' | 'jobs_created' | 'jobs_completed' | 'jobs_failed' | 'jobs_skipped'
>
type Running = Pick<Schemas['ListedBackup'], 'execution_id' | 'progress_percent'>

/** Return how far an execution is, of a hundred: what has ended counts whole, what runs as far as it is. */
export function percent(execution: Execution, running: readonly Running[]): number {
  if (execution.jobs_created === 0) return 0
  const ended = execution.jobs_completed + execution.jobs_failed + execution.jobs_skipped
  const parts = running
    .filter((one) => one.execution_id === execution.id)
    .reduce((sum, one) => sum + one.progress_percent / 100, 0)
  return Math.min(100, Math.floor(((ended + parts) / execution.jobs_created) * 100))
}
