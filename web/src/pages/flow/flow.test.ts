import { expect, test } from 'vitest'

import { trend } from '../../components/trend'
import { begun, body } from './backfill'
import { measured, progress, usually, type Execution } from './measures'
import { apart, outcome, unexecuted, type Occurrence } from './occurrences'

function execution(id: string, more: Partial<Execution> = {}): Execution {
  return {
    ...{
      id,
      flow_id: 'f',
      flow_name: 'Flow',
      status: 'success',
      execution_type: 'scheduled',
      triggered_by: 's',
    },
    ...{
      created_at: '2026-11-24T01:00:00Z',
      started_at: '2026-11-24T01:00:00Z',
      execution_time_seconds: 100,
    },
    ...{ completed_at: '2026-11-24T01:01:40Z', bytes_transferred: 1000, created_job_ids: [], excluded: [] },
    ...{
      jobs_created: 4,
      jobs_completed: 4,
      jobs_failed: 0,
      jobs_pending: 0,
      jobs_queued: 0,
      jobs_running: 0,
    },
    ...{ jobs_skipped: 0, vms_processed: 4, error_message: null, backfill_id: null, occurrence: null },
    ...{ retry_of: null, waiting_for: null },
    ...more,
  }
}

test('a retry and what failed are shown, and are neither too fast nor make others too slow', () => {
  const whole = Array.from({ length: 10 }, (_, n) => execution(`whole-${String(n)}`))
  const points = measured(
    [
      execution('runs', { completed_at: null, execution_time_seconds: null }),
      execution('retry', { retry_of: 'whole-1', execution_time_seconds: 5 }),
      execution('failed', { status: 'error', execution_time_seconds: 1 }),
      execution('slow', { status: 'warning', execution_time_seconds: 900 }),
      ...whole,
    ],
    'seconds',
  )
  expect(points.map((one) => one.id).slice(-3)).toEqual(['slow', 'failed', 'retry'])
  expect(trend(points).bars.filter((one) => one.unusual !== null)).toEqual([
    expect.objectContaining({ id: 'slow', unusual: 'high' }),
  ])
  expect(measured(whole, 'bytes')[0]).toMatchObject({
    value: 1000,
    tone: 'good',
    href: '/executions/whole-9',
  })
})

test('how long a flow takes as a rule is that of the whole of it', () => {
  const took = (seconds: number, more: Partial<Execution> = {}): Execution =>
    execution(String(seconds), { execution_time_seconds: seconds, ...more })
  expect(usually([took(5, { retry_of: 'x' }), took(1, { status: 'error' }), took(90), took(110)])).toBe(100)
  expect(usually([])).toBeNull()
})

test.each([
  [{ jobs_created: 0, jobs_completed: 0, jobs_failed: 0, jobs_skipped: 0 }, 0],
  [{ jobs_created: 3, jobs_completed: 1, jobs_failed: 1, jobs_skipped: 0 }, 66],
  [{ jobs_created: 3, jobs_completed: 1, jobs_failed: 1, jobs_skipped: 1 }, 100],
])('%j is %d percent', (jobs, percent) => {
  expect(progress(jobs)).toBe(percent)
})

const NOW = new Date('2026-11-25T12:00:00Z')

function occurrence(at: string, more: Partial<Occurrence> = {}): Occurrence {
  return { occurrence: at, outcome: 'executed', count: 1, ...more }
}

test('the next occurrence and the last one come first, and one that is moved has not passed yet', () => {
  const all = [
    occurrence('2026-11-24T01:00:00Z', { status: 'success' }),
    occurrence('2026-11-25T01:00:00Z', { outcome: 'missed', count: 3 }),
    occurrence('2026-11-25T11:59:00Z', { outcome: 'expected', fires_at: '2026-11-25T12:04:00Z' }),
    occurrence('2026-11-26T01:00:00Z', { outcome: 'frozen' }),
  ]
  const { coming, passed } = apart(all, NOW)
  expect(coming.map((one) => one.outcome)).toEqual(['expected', 'frozen'])
  expect(passed.map((one) => one.outcome)).toEqual(['missed', 'executed'])
  expect(unexecuted(passed)).toBe(3)
})

test('of an occurrence that was executed, its execution is told', () => {
  expect(outcome({ outcome: 'executed', status: 'warning' })).toEqual({ state: 'warning', text: 'warning' })
  expect(outcome({ outcome: 'executed', status: null })).toEqual({ state: 'executed', text: 'executed' })
  expect(outcome({ outcome: 'frozen' }).text).toBe('held by the freeze')
})

test('a backfill begins with the last week, in the time of whoever asks', () => {
  const wanted = begun(new Date(2026, 10, 25, 12, 30))
  expect([wanted.from, wanted.to]).toEqual(['2026-11-18T00:00', '2026-11-25T12:30'])
  expect(body(wanted, true)).toEqual({
    ...{ from: new Date(2026, 10, 18).toISOString(), to: new Date(2026, 10, 25, 12, 30).toISOString() },
    ...{ mode: 'missing', max_concurrent: 1, dry_run: true },
  })
  expect(body({ ...wanted, to: '' }, true)).toBeNull()
})
