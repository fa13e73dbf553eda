// Where the time of each VM went: waiting for a slot, waiting for a worker, and each attempt.
import type { LogEvent } from '../../live/events'
import { number, text } from '../../log/reading'
import type { Job } from './jobs'

export type How = 'running' | 'retrying' | 'success' | 'error' | 'cancelled' | 'lost'

export interface Attempt {
  number: number
  worker: string
  /** Instants in milliseconds. */
  began: number
  ended: number | null
  how: How
  error: string
}

export interface Trace {
  requested: readonly number[]
  attempts: readonly Attempt[]
}

export interface Span {
  from: number
  to: number
  what: 'slot' | 'worker' | 'attempt'
  attempt?: Attempt
}

const ENDS: Record<string, How> = {
  'backup.retrying': 'retrying',
  'backup.completed': 'success',
  'backup.failed': 'error',
  'backup.cancelled': 'cancelled',
}
/** What events a trace is made of, as patterns of the log. */
export const TRACED = ['backup.requested', 'backup.started', 'backup.retrying', 'backup.failed']

/** Return a trace after an event, in whatever order they come; the same object when it changes nothing. */
export function traced(trace: Trace, event: LogEvent): Trace {
  const at = Date.parse(event.time)
  if (event.type === 'backup.requested')
    return trace.requested.includes(at)
      ? trace
      : { ...trace, requested: [...trace.requested, at].sort((a, b) => a - b) }
  const wanted = number(event.data, 'attempt')
  const known = trace.attempts.find((one) => one.number === wanted)
  const how = ENDS[event.type]
  if (event.type === 'backup.started') {
    if (known !== undefined && known.worker !== '') return trace
    const end = known ?? { ended: null, how: 'running' as const, error: '' }
    return replaced(trace, { ...end, number: wanted, worker: text(event.data, 'worker'), began: at })
  }
  if (how === undefined || wanted === 0 || (known?.ended ?? null) !== null) return trace
  const error = text(event.data, 'error') || text(event.data, 'reason')
  return replaced(trace, {
    number: wanted,
    worker: known?.worker ?? '',
    began: known?.began ?? at,
    ended: at,
    how,
    error,
  })
}

function replaced(trace: Trace, attempt: Attempt): Trace {
  const others = trace.attempts.filter((one) => one.number !== attempt.number)
  return { ...trace, attempts: [...others, attempt].sort((a, b) => a.number - b.number) }
}

/** Return the attempts at a backup; one that was never told to have ended, and was followed by another, is lost. */
export function attemptsOf(job: Job, trace: Trace | undefined): Attempt[] {
  const ended = job.completed_at === null ? null : Date.parse(job.completed_at)
  const known = trace?.attempts ?? []
  const own: Attempt[] =
    job.started_at === null || known.some((one) => one.number === job.attempt)
      ? []
      : [
          {
            number: job.attempt,
            worker: job.worker ?? '',
            began: Date.parse(job.started_at),
            ended: null,
            how: 'running',
            error: '',
          },
        ]
  const all = [...known, ...own]
  return all.map((one, n) => {
    if (one.ended !== null) return one
    const next = all[n + 1]
    if (next !== undefined) return { ...one, ended: next.began, how: 'lost' }
    if (ended === null) return one
    const how = job.status === 'success' || job.status === 'error' ? job.status : 'cancelled'
    return { ...one, ended, how, error: job.error_message ?? '' }
  })
}

/** Return where the time of a backup went, up to now. */
export function spans(job: Job, trace: Trace | undefined, now: number): Span[] {
  const attempts = attemptsOf(job, trace)
  const end = job.completed_at === null ? now : Date.parse(job.completed_at)
  const found: Span[] = []
  let from = Date.parse(job.created_at)
  for (const attempt of attempts) {
    found.push(...waits(from, attempt.began, trace), {
      from: attempt.began,
      to: attempt.ended ?? now,
      what: 'attempt',
      attempt,
    })
    from = attempt.ended ?? now
  }
  if (from < end) found.push(...waits(from, end, trace))
  return found.filter((one) => one.to > one.from)
}

/** A time without an attempt: for a slot until it is requested, for a worker from then on. */
function waits(from: number, to: number, trace: Trace | undefined): Span[] {
  const requested = trace?.requested.find((at) => at >= from && at <= to)
  if (requested === undefined) return [{ from, to, what: 'worker' }]
  return [
    { from, to: requested, what: 'slot' },
    { from: requested, to, what: 'worker' },
  ]
}
