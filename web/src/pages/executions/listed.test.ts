import { expect, test } from 'vitest'

import { ended, extended, kindOf, mayRetry, renewed, secondsOf, type Execution } from './listed'

function at(minute: number, id = String(minute)) {
  return { id, created_at: new Date(minute * 60_000).toISOString() }
}

const minutes = (some: { id: string }[]): string[] => some.map((one) => one.id)

test('the beginning of a list is read anew: what is new is there, what left it is gone, what is older stays', () => {
  const known = [at(9), at(8), at(7), at(6)]
  expect(minutes(renewed(known, [at(10), at(9), at(7)], 5))).toEqual(['10', '9', '7', '6'])
})

test('a list that is read whole is what was read', () => {
  expect(minutes(renewed([at(9), at(8)], [at(9)], 1))).toEqual(['9'])
  expect(renewed([at(9)], [], 0)).toEqual([])
})

test('when more came than a page has, nothing is taken for the whole', () => {
  expect(minutes(renewed([at(2), at(1)], [at(9), at(8)], 9))).toEqual(['9', '8'])
})

test('at its end a list grows, and nothing is in it twice', () => {
  const again = { ...at(8), more: true }
  const all = extended<{ id: string; created_at: string; more?: boolean }>([at(9), at(8)], [again, at(7)])
  expect(minutes(all)).toEqual(['9', '8', '7'])
  expect(all[1]).toBe(again)
})

test('those of one instant are in the order of the API', () => {
  expect(minutes(extended([at(1, 'a')], [at(1, 'b')]))).toEqual(['b', 'a'])
})

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
  expect(mayRetry({ ...ONE, status: 'cancelled', started_at: null })).toBe(false)
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
