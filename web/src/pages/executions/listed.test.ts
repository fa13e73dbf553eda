import { expect, test } from 'vitest'

import { ended, kindOf, mayRetry, secondsOf, type Execution } from './listed'

const ONE: Execution = {
  id: 'x',
  flow_id: 'f',
  flow_name: 'Nightly',
  status: 'warning',
  execution_type: 'scheduled',
  triggered_by: 'scheduler',
  occurrence: '2026-11-25T01:00:00Z',
  created_at: '2026-11-25T01:00:00Z',
  started_at: '2026-11-25T01:00:00Z',
  completed_at: '2026-11-25T01:10:00Z',
  execution_time_seconds: 600,
  jobs_created: 5,
  jobs_pending: 0,
  jobs_queued: 0,
  jobs_running: 0,
  jobs_completed: 3,
  jobs_failed: 1,
  jobs_skipped: 1,
  vms_processed: 5,
  bytes_transferred: 10,
  error_message: null,
  created_job_ids: [],
  excluded: [],
  retry_of: null,
  backfill_id: null,
  waiting_for: null,
}
const RUNNING: Execution = { ...ONE, status: 'running', completed_at: null, execution_time_seconds: null }

test('a retry is one, whatever was retried', () => {
  expect(kindOf(ONE)).toBe('scheduled')
  expect(kindOf({ ...ONE, execution_type: 'manual' })).toBe('manual')
  expect(kindOf({ ...ONE, backfill_id: 'b' })).toBe('backfill')
  expect(kindOf({ ...ONE, backfill_id: 'b', retry_of: 'x' })).toBe('retry')
})

test('what failed or was left out can be tried again, once it is over', () => {
  expect(mayRetry(ONE)).toBe(true)
  expect(mayRetry({ ...ONE, status: 'success' })).toBe(false)
  expect(mayRetry(RUNNING)).toBe(false)
  expect(mayRetry({ ...ONE, flow_id: null })).toBe(false)
})

test('VMs that have ended are counted, however they did', () => {
  expect(ended(ONE)).toEqual({ done: 5, of: 5 })
})

test('one that runs has taken the time until now', () => {
  const now = new Date('2026-11-25T01:02:00Z')
  expect(secondsOf(ONE, now)).toBe(600)
  expect(secondsOf(RUNNING, now)).toBe(120)
  expect(secondsOf({ ...RUNNING, started_at: null }, now)).toBeNull()
})
