import { expect, test } from 'vitest'

import type { Backup } from '../../components/restorePoints'
import { trend } from '../../components/trend'
import { measured, open } from './measures'

function backup(id: string, more: Partial<Backup> = {}): Backup {
  return {
    ...{
      id,
      backup_id: id,
      context_id: 'vm',
      vm_name: 'VM',
      execution_id: `of-${id}`,
      flow_id: 'f',
      flow_name: 'F',
    },
    ...{
      attempt: 1,
      backup_type: 'incremental',
      type: 'incremental',
      result: 'success',
      status: 'completed',
    },
    ...{ created_at: '2026-11-24T01:00:00Z', started_at: '2026-11-24T01:00:00Z' },
    ...{ completed_at: '2026-11-24T01:01:00Z', bytes_read: 0, bytes_transferred: 1000, total_bytes: 0 },
    ...{ disks_count: 1, error_message: null, first_error: null, progress_percent: 100, repository_id: 'r' },
    ...{ snapshot_ref: null, worker: null, worker_labels: {} },
    ...more,
  }
}

test('a full backup beside incremental ones is not unusual, a large incremental one is', () => {
  const usual = Array.from({ length: 9 }, (_, n) => backup(`usual-${String(n)}`))
  const points = measured(
    [
      backup('waits', { result: 'queued', started_at: null, completed_at: null }),
      backup('failed', { result: 'error', bytes_transferred: 3 }),
      backup('large', { bytes_transferred: 9000 }),
      ...usual,
      backup('full', { backup_type: 'full', bytes_transferred: 90_000 }),
    ],
    'bytes',
  )
  expect([points[0]?.id, points.at(-1)?.id, points.length]).toEqual(['full', 'failed', 12])
  expect(trend(points).bars.filter((one) => one.unusual !== null)).toEqual([
    expect.objectContaining({ id: 'large', unusual: 'high' }),
  ])
  expect(points.at(-1)).toMatchObject({ state: 'error', tone: 'bad', href: '/executions/of-failed' })
  expect(measured(usual, 'seconds')[0]?.value).toBe(60)
})

test.each([
  ['queued', true],
  ['running', true],
  ['success', false],
  ['skipped', false],
] as const)('a backup that is %s is open: %s', (result, is) => {
  expect(open({ result })).toBe(is)
})
