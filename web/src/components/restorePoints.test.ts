import { expect, test } from 'vitest'

import { byVm, outcomeOf, took, type Backup } from './restorePoints'

function backup(vm: string, at: string, more: Partial<Backup> = {}): Backup {
  return {
    ...{ id: `${vm}-${at}`, backup_id: `${vm}-${at}`, context_id: vm, vm_name: vm.toUpperCase() },
    ...{ created_at: at, started_at: at, completed_at: null, result: 'success', status: 'completed' },
    ...{
      attempt: 1,
      backup_type: 'full',
      type: 'full',
      bytes_read: 0,
      bytes_transferred: 10,
      total_bytes: 10,
    },
    ...{
      disks_count: 1,
      error_message: null,
      first_error: null,
      execution_id: 'e',
      flow_id: 'f',
      flow_name: 'F',
    },
    ...{ progress_percent: 100, repository_id: 'r', snapshot_ref: null, worker: null, worker_labels: {} },
    ...more,
  }
}

test('the VM with the newest backup comes first, and of each the newest; what failed takes nothing', () => {
  const found = byVm([
    backup('a', '2026-11-23T02:00:00Z'),
    backup('b', '2026-11-25T02:00:00Z', { result: 'error' }),
    backup('a', '2026-11-24T02:00:00Z'),
    backup('b', '2026-11-20T02:00:00Z'),
  ])
  expect(
    found.map((one) => [one.name, one.backups.map((of) => of.created_at.slice(8, 10)), one.bytes]),
  ).toEqual([
    ['B', ['25', '20'], 10],
    ['A', ['24', '23'], 20],
  ])
})

test('a backup that has not begun has the age of its request, and has taken no time', () => {
  const waits = backup('a', '2026-11-25T02:00:00Z', { started_at: null })
  expect([byVm([waits])[0]?.backups.length, took(waits)]).toEqual([1, null])
  expect(took({ started_at: '2026-11-25T02:00:00Z', completed_at: '2026-11-25T02:01:30Z' })).toBe(90)
})

test('what the address asks for', () => {
  expect([null, 'failed', 'error', 'all', 'nonsense'].map(outcomeOf)).toEqual([
    'completed',
    'error',
    'error',
    'all',
    'completed',
  ])
})
