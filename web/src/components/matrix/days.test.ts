import { expect, test } from 'vitest'

import type { Schemas } from '../../api/client'
import { months, pathsOf, rollUp, rowsOf, summary, worst } from './days'

function vm(id: string, cells: string, more: Partial<Schemas['VmDays']> = {}): Schemas['VmDays'] {
  return { context_id: id, vm_name: id, state: 'protected', groups: [], label: null, cells, ...more }
}

const FOUND = {
  groups: [
    { group_id: 'g1', group_name: 'web' },
    { group_id: 'g2', group_name: 'all' },
  ],
  vms: [
    vm('a', 'sss', { groups: [0, 1], label: 'prod' }),
    vm('b', ' .f', { groups: [1], state: 'failing', label: 'prod' }),
    vm('c', '.k.'),
  ],
}

test('a day of several VMs says the worst that happened, and good before nothing', () => {
  expect(rollUp(['sss.', ' .fr', 'k.sk'])).toBe('ssfr')
  expect(rollUp([])).toBe('')
  expect(rollUp(['s', 'sm'])).toBe('sm')
})

test('the worst of states', () => {
  expect([worst(['protected', 'stale', 'pending']), worst([])]).toEqual(['stale', 'excluded'])
})

test('a VM of two groups stands in both; what is in none comes last', () => {
  const rows = rowsOf(FOUND, 'group', new Set())
  expect(rows.map((row) => row.name)).toEqual(['all', 'a', 'b', 'web', 'a', 'in no group', 'c'])
  expect(rows[0]).toMatchObject({ kind: 'group', number: 2, state: 'failing', cells: 'ssf' })
  expect(new Set(rows.map((row) => row.key)).size).toBe(rows.length)
})

test('grouped by a label, with a group closed', () => {
  const rows = rowsOf(FOUND, 'label', new Set(['group:prod']))
  expect(rows.map((row) => row.name)).toEqual(['prod', 'without this label', 'c'])
  expect(rowsOf(FOUND, 'none', new Set()).map((row) => row.name)).toEqual(['a', 'b', 'c'])
})

test('a row says what it shows', () => {
  const days = ['2026-11-23', '2026-11-24', '2026-11-25']
  const [a, b] = rowsOf(FOUND, 'none', new Set())
  expect(a === undefined ? '' : summary(a, days)).toBe(
    'protected; of 3 days 3 with a good backup, none with a failure',
  )
  expect(b === undefined ? '' : summary(b, days)).toBe(
    'failing; of 3 days 0 with a good backup, 1 with a failure, last on 2026-11-25',
  )
})

test('each kind of day is one path, whatever the number of days, with a shape of its own', () => {
  const paths = pathsOf('sfmrk. ss')
  expect(paths.map(([letter]) => letter)).toEqual(['s', 'f', 'm', 'r', 'k', '.'])
  expect(new Set([...'sfmrk.'].map((letter) => pathsOf(letter)[0]?.[1])).size).toBe(6)
})

test('months stand where they begin', () => {
  expect(months(['2026-10-30', '2026-10-31', '2026-11-01', '2026-11-02'])).toEqual([{ at: 2, name: 'Nov' }])
  expect(months(['2026-10-02', '2026-10-03'])).toEqual([{ at: 0, name: 'Oct' }])
})
