import { expect, test } from 'vitest'

import type { Schemas } from '../../api/client'
import { growth } from './storage'

const HISTORY: Schemas['StorageHistory'] = {
  repository_id: 'r',
  timezone: 'UTC',
  days: [],
  backup_count: 2,
  stored_bytes: 2_000_000,
  bytes_per_day: 1_000_000,
  free_bytes: 9_000_000,
  total_bytes: 11_000_000,
  full_on: '2026-12-04',
}

test('it is said when a repository is full', () => {
  expect(growth(HISTORY)).toBe(
    '2 backups with 2 MB, growing by 1 MB a day: it is full on 2026-12-04 if that goes on.',
  )
})

test.each([
  [{ full_on: null, bytes_per_day: 0 }, 'not growing; it does not fill up in ten years.'],
  [{ full_on: null, bytes_per_day: -5 }, 'shrinking by 5 B a day; it does not fill up in ten years.'],
  [{ full_on: null, free_bytes: null }, 'how much room there is, is not known.'],
  [{ full_on: null, bytes_per_day: null }, 'too few days have passed'],
])('what is not known is not made up: %o', (some, said) => {
  expect(growth({ ...HISTORY, ...some })).toContain(said)
})
