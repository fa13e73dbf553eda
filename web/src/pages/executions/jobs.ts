// The VMs of an execution as its events leave them, by the rules of the tables; and what they come to.
import type { Schemas } from '../../api/client'
import type { LogEvent } from '../../live/events'
import { number, text } from '../../log/reading'

export type Job = Schemas['JobResponse']
export type JobStatus = Job['status']

const ENDS: Record<string, JobStatus> = {
  'backup.completed': 'success',
  'backup.failed': 'error',
  'backup.cancelled': 'cancelled',
  'backup.skipped': 'skipped',
}

/** Return a VM's backup after an event; the same object when that changes nothing: it is late, or known already. */
export function applied(job: Job, event: LogEvent): Job {
  const { type, data, time } = event
  if (job.completed_at !== null) return job
  const attempt = number(data, 'attempt')
  if (attempt > 0 && attempt < job.attempt) return job
  const newer = { ...job, attempt: Math.max(attempt, job.attempt) }
  switch (type) {
    case 'backup.requested':
      if (job.started_at !== null && time <= job.started_at) return job
      return { ...newer, status: 'queued', repository_id: text(data, 'repository_id') || job.repository_id }
    case 'backup.started':
      if (attempt === job.attempt) return job
      return {
        ...newer,
        status: 'running',
        worker: text(data, 'worker'),
        started_at: time,
        progress_percent: 0,
        bytes_read: 0,
        bytes_transferred: 0,
      }
    case 'backup.progressed':
      if (attempt === job.attempt && number(data, 'percent') <= job.progress_percent) return job
      return { ...newer, progress_percent: number(data, 'percent'), ...moved(event) }
    case 'backup.retrying': {
      const error = text(data, 'error')
      return { ...newer, status: 'queued', error_message: error, first_error: job.first_error ?? error }
    }
    case 'backup.completed':
      return {
        ...newer,
        status: 'success',
        completed_at: time,
        progress_percent: 100,
        error_message: null,
        snapshot_ref: text(data, 'snapshot_ref'),
        ...moved(event),
      }
    case 'backup.failed':
    case 'backup.cancelled':
    case 'backup.skipped': {
      const why = text(data, type === 'backup.failed' ? 'error' : 'reason')
      const first = type === 'backup.failed' ? (job.first_error ?? why) : job.first_error
      return {
        ...newer,
        status: ENDS[type] ?? job.status,
        completed_at: time,
        error_message: why,
        first_error: first,
      }
    }
    default:
      return job
  }
}

function moved({ data }: LogEvent): Pick<Job, 'bytes_read' | 'bytes_transferred'> {
  return { bytes_read: number(data, 'bytes_read'), bytes_transferred: number(data, 'bytes_transferred') }
}

export interface Totals {
  by: Record<JobStatus, number>
  bytes: number
  /** Of a hundred, over all VMs; one that has ended has done all of its part. */
  percent: number
}

export function totals(jobs: readonly Job[]): Totals {
  const by: Record<JobStatus, number> = {
    ...{ pending: 0, queued: 0, running: 0, success: 0, error: 0, cancelled: 0, skipped: 0 },
  }
  let [bytes, done] = [0, 0]
  for (const job of jobs) {
    by[job.status] += 1
    bytes += job.bytes_transferred
    done += job.completed_at === null ? job.progress_percent : 100
  }
  return { by, bytes, percent: jobs.length === 0 ? 0 : Math.floor(done / jobs.length) }
}

/** Return how long an execution will still take at the pace so far, in seconds; null when it is too early to say. */
export function secondsLeft(percent: number, startedAt: string | null, now: Date): number | null {
  const taken = startedAt === null ? 0 : (now.getTime() - Date.parse(startedAt)) / 1000
  if (percent < 2 || percent >= 100 || taken < 5) return null
  return (taken * (100 - percent)) / percent
}

/** Return how long the last attempt took, or takes, in seconds; null before it began. */
export function secondsTaken(job: Job, now: Date): number | null {
  if (job.started_at === null) return null
  if (job.status === 'queued') return null
  const end = job.completed_at === null ? now.getTime() : Date.parse(job.completed_at)
  return Math.max(0, (end - Date.parse(job.started_at)) / 1000)
}
