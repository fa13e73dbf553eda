import { expect, test } from 'vitest'

import type { LogEvent } from '../../live/events'
import { LiveExecution } from './execution.svelte'
import { applied, secondsLeft, totals, type Job } from './jobs'
import { attemptsOf, spans, traced, type Trace } from './traces'

const JOB: Job = {
  ...{ id: 'b1', execution_id: 'x1', context_id: 'vm-1', vm_name: 'db01', status: 'pending', attempt: 0 },
  ...{ worker: null, bytes_read: 0, bytes_transferred: 0, progress_percent: 0, created_at: at(0) },
  ...{ started_at: null, completed_at: null, error_message: null, first_error: null, repository_id: null },
  ...{ snapshot_ref: null, worker_labels: {} },
}

function at(second: number): string {
  return new Date(Date.UTC(2026, 10, 25, 3, 0, second)).toISOString()
}

function event(type: string, second: number, data: Record<string, unknown> = {}): LogEvent {
  const of = { flow_id: 'f1', execution_id: 'x1', backup_id: 'b1', context_id: 'vm-1' }
  return { sequence: second + 1, type, subject: 'f1', time: at(second), data: { ...of, ...data } }
}

const KILLED = [
  event('backup.requested', 1, { repository_id: 'r1' }),
  event('backup.started', 2, { attempt: 1, worker: 'w1' }),
  event('backup.progressed', 3, { attempt: 1, percent: 40, bytes_read: 4, bytes_transferred: 2 }),
  event('backup.requested', 9, { repository_id: 'r1', round: 2 }),
  event('backup.started', 10, { attempt: 2, worker: 'w2' }),
  event('backup.completed', 14, { attempt: 2, bytes_read: 10, bytes_transferred: 5, snapshot_ref: 's' }),
]

function after(events: readonly LogEvent[], job: Job = JOB): Job {
  return events.reduce(applied, job)
}

test('a worker that is killed: attempt 2 shows by itself, on the other worker', () => {
  expect(after(KILLED.slice(0, 3))).toMatchObject({ status: 'running', attempt: 1, progress_percent: 40 })
  expect(after(KILLED.slice(0, 4))).toMatchObject({ status: 'queued', attempt: 1 })
  expect(after(KILLED.slice(0, 5))).toMatchObject({
    status: 'running',
    attempt: 2,
    worker: 'w2',
    progress_percent: 0,
    bytes_transferred: 0,
  })
  expect(after(KILLED)).toMatchObject({ status: 'success', completed_at: at(14), snapshot_ref: 's' })
})

test.each([1, 2, 3, 4, 5, 6])('what was read after %i events is not thrown back by hearing them again', (n) => {
  const read = after(KILLED.slice(0, n))
  expect(after(KILLED.slice(0, n), read)).toEqual(read)
  expect(after(KILLED, read)).toEqual(after(KILLED))
})

test('the end of an older attempt, and what comes after the end, count for nothing', () => {
  const running = after(KILLED.slice(0, 5))
  expect(applied(running, event('backup.failed', 11, { attempt: 1, error: 'late' }))).toBe(running)
  const ended = after(KILLED)
  expect(applied(ended, event('backup.progressed', 15, { attempt: 2, percent: 50 }))).toBe(ended)
})

test('the first error is kept, the last is shown', () => {
  const failed = after([
    event('backup.started', 1, { attempt: 1, worker: 'w' }),
    event('backup.retrying', 2, { attempt: 1, error: 'a' }),
    event('backup.started', 3, { attempt: 2, worker: 'w' }),
    event('backup.failed', 4, { attempt: 2, error: 'b' }),
  ])
  expect(failed).toMatchObject({ status: 'error', first_error: 'a', error_message: 'b' })
})

test('totals count each state, and what has ended has done all of its part', () => {
  const some: Job[] = [
    { ...JOB, status: 'running', progress_percent: 50, bytes_transferred: 3 },
    { ...JOB, status: 'error', completed_at: at(1), progress_percent: 10, bytes_transferred: 4 },
  ]
  expect(totals(some)).toMatchObject({ bytes: 7, percent: 75, by: { running: 1, error: 1, success: 0 } })
  expect(totals([]).percent).toBe(0)
})

test('time left is told from the pace, and not too early', () => {
  expect(secondsLeft(25, at(0), new Date(at(20)))).toBe(60)
  expect(secondsLeft(1, at(0), new Date(at(20)))).toBeNull()
  expect(secondsLeft(50, at(0), new Date(at(1)))).toBeNull()
  expect(secondsLeft(50, null, new Date(at(1)))).toBeNull()
})

const NONE: Trace = { requested: [], attempts: [] }

test('where the time went: slot, worker, a lost attempt, worker again, the second attempt', () => {
  const trace = KILLED.reduce(traced, NONE)
  const shown = spans(after(KILLED), trace, Date.parse(at(60)))
  const seconds = (ms: number): number => (ms - Date.parse(at(0))) / 1000
  expect(shown.map((one) => [one.what, one.attempt?.how, seconds(one.from), seconds(one.to)])).toEqual([
    ['slot', undefined, 0, 1],
    ['worker', undefined, 1, 2],
    ['attempt', 'lost', 2, 10],
    ['attempt', 'success', 10, 14],
  ])
})

test('a trace is the same in whatever order its events are heard, and however often', () => {
  const trace = KILLED.reduce(traced, NONE)
  expect([...KILLED, ...KILLED].reverse().reduce(traced, NONE)).toEqual(trace)
})

test('without the log, the row alone tells its last attempt', () => {
  expect(attemptsOf(after(KILLED), undefined)).toMatchObject([
    { number: 2, worker: 'w2', how: 'success', ended: Date.parse(at(14)) },
  ])
})

test('events change their own row alone, and what is not known is to be read', () => {
  const live = new LiveExecution('x1')
  const other = { ...JOB, id: 'b2' }
  live.take([JOB, other])
  expect(live.hear([KILLED[1] as LogEvent], 0)).toEqual({ jobs: false, execution: false })
  expect(live.jobs[0]?.status).toBe('running')
  expect(live.jobs[1]).toBe(other)
  expect(live.hear([event('backup.started', 20, { backup_id: 'b9' })], 1).jobs).toBe(true)
  expect(live.hear([event('flow.completed', 21)], 2)).toEqual({ jobs: true, execution: true })
  live.take([JOB, other]) // what is read may be older than what was heard
  expect(live.jobs[0]?.status).toBe('running')
})
