// An execution as it goes: what was read of it, and the events since, taken in once per frame.
import { client, unwrap } from '../../api/client'
import type { LogEvent } from '../../live/events'
import { executionOf } from '../../log/about'
import { fold, type Line } from '../../log/fold'
import { parsed } from '../../log/past'
import { text } from '../../log/reading'
import { applied, type Job } from './jobs'
import { TRACED, traced, type Trace } from './traces'

const PAGE = 500
const REMEMBERED = 60_000 // milliseconds: what was read may be so much older than what was heard
const MOST_LINES = 5_000
const NONE: Trace = { requested: [], attempts: [] }

/** Read all VMs of an execution. Throws `Problem`. */
export async function readJobs(id: string, signal: AbortSignal): Promise<Job[]> {
  const jobs: Job[] = []
  for (;;) {
    const query = { limit: PAGE, offset: jobs.length }
    const path = { execution_id: id }
    const page = await unwrap(
      client.GET('/api/v1/executions/{execution_id}/jobs', { params: { path, query }, signal }),
    )
    jobs.push(...page.jobs)
    if (page.jobs.length === 0 || jobs.length >= page.total) return jobs
  }
}

/** Read what tells where the time of each VM went. Throws `Problem`. */
export async function readTraced(id: string): Promise<LogEvent[]> {
  const events: LogEvent[] = []
  for (const pattern of TRACED) {
    for (let after = 0; ;) {
      const query = { pattern, execution: id, limit: PAGE, after }
      const page = await unwrap(client.GET('/api/v1/events/log', { params: { query } }))
      events.push(...parsed(page.events))
      if (page.events.length < PAGE) break
      after = page.events.at(-1)?.sequence ?? after
    }
  }
  return events
}

export class LiveExecution {
  jobs = $state.raw<readonly Job[]>([])
  traces = $state.raw<ReadonlyMap<string, Trace>>(new Map())
  lines = $state.raw<readonly Line[]>([])

  private readonly place = new Map<string, number>()
  private recent: { at: number; event: LogEvent }[] = []
  private last = 0

  constructor(readonly id: string) {}

  /** Take what was read; what was heard meanwhile comes on top of it. */
  take(jobs: readonly Job[]): void {
    this.place.clear()
    for (const [n, job] of jobs.entries()) this.place.set(job.id, n)
    const next = [...jobs]
    for (const { event } of this.recent) this.apply(next, event)
    this.jobs = next
  }

  /** Take what the log said before. */
  learn(events: readonly LogEvent[]): void {
    this.trace(events)
  }

  /** Take the last lines of the log. */
  begin(events: readonly LogEvent[]): void {
    const heard = this.recent.map((one) => one.event)
    const last = events.at(-1)?.sequence ?? 0
    this.lines = fold([], [...events, ...heard.filter((one) => one.sequence > last)])
  }

  /** Take the events of a frame; returns whether something is to be read anew. */
  hear(events: readonly LogEvent[], at: number): { jobs: boolean; execution: boolean } {
    const mine = events.filter((one) => one.sequence > this.last && executionOf(one) === this.id)
    this.last = events.at(-1)?.sequence ?? this.last
    const wanted = { jobs: false, execution: false }
    if (mine.length === 0) return wanted
    const next = [...this.jobs]
    let changed = false
    for (const event of mine) {
      this.recent.push({ at, event })
      if (event.type.startsWith('flow.')) wanted.execution = true
      if (event.type === 'flow.planned' || event.type === 'flow.completed') wanted.jobs = true
      const known = this.apply(next, event)
      if (known === undefined) wanted.jobs ||= event.type.startsWith('backup.')
      else changed ||= known
    }
    if (changed) this.jobs = next
    this.recent = this.recent.filter((one) => one.at > at - REMEMBERED)
    this.trace(mine)
    this.lines = fold(this.lines, mine).slice(-MOST_LINES)
    return wanted
  }

  /** Returns whether a row is another now; undefined: it is about no row that is known. */
  private apply(jobs: Job[], event: LogEvent): boolean | undefined {
    const n = this.place.get(text(event.data, 'backup_id'))
    const job = n === undefined ? undefined : jobs[n]
    if (n === undefined || job === undefined) return undefined
    jobs[n] = applied(job, event)
    return jobs[n] !== job
  }

  private trace(events: readonly LogEvent[]): void {
    let next: Map<string, Trace> | null = null
    for (const event of events) {
      if (!event.type.startsWith('backup.') || event.type === 'backup.progressed') continue
      const id = text(event.data, 'backup_id')
      const before: Trace = (next ?? this.traces).get(id) ?? NONE
      const after = traced(before, event)
      if (after !== before) (next ??= new Map(this.traces)).set(id, after)
    }
    if (next !== null) this.traces = next
  }
}
