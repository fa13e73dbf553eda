import { expect, test } from 'vitest'

import { kept, sorted } from '../../components/order'
import { choices, labels, wanted } from './filter'
import { made } from './made'
import { flat, GROUPING, key, labelKeys, rolledUp, summary } from './rows'
import { rank, stateOf, successRate, type Flow, type FlowState } from './state'

const gold = { labels: { tier: 'gold' } }
const silver = { labels: { tier: 'silver' } }
const FLOWS = [
  made('a', gold),
  made('b', gold, { last_execution_status: 'running' }),
  made('c', silver, { last_execution_status: 'error' }),
  made('d', silver),
  made('e'),
]

test.each([
  ['success', true, 'x', 'good'],
  ['error', true, 'x', 'failed'],
  ['warning', true, 'x', 'warning'],
  ['cancelled', true, 'x', 'cancelled'],
  ['running', false, 'x', 'running'],
  ['pending', true, 'x', 'running'],
  ['pending', true, null, 'never'],
  ['error', false, 'x', 'disabled'],
] as const)(
  'a flow whose last execution is %s, enabled %s, of id %s, is %s',
  (status, enabled, id, state) => {
    const flow = made('f', { enabled }, { last_execution_status: status, last_execution_id: id })
    expect(stateOf(flow)).toBe(state)
  },
)

test('the worst group comes first, those without the label last, and closed ones have their head alone', () => {
  const rows = rolledUp(FLOWS, stateOf, 'tier', (group) => group === 'silver')
  expect(rows.map(key)).toEqual(['group:silver', 'c', 'd', 'group:gold', 'group'])
  const [silver, , , gold] = rows
  expect(silver).toMatchObject({ worst: 'failed', counts: { failed: 1, good: 1 }, ids: ['c', 'd'] })
  expect(gold).toMatchObject({ worst: 'running', counts: { running: 1, good: 1 }, open: false })
})

test('what a group rolls up is said in words, the worst first', () => {
  expect(summary({ good: 40, failed: 2, asked: 1 })).toBe('2 failed, 1 asked for, 40 good')
})

test('a group that becomes worse does not move under the mouse', () => {
  const before = sorted(
    rolledUp(FLOWS, stateOf, 'tier', () => true),
    undefined,
    false,
    GROUPING,
  )
  const worse = (flow: Flow): FlowState => (flow.id === 'e' ? 'failed' : stateOf(flow))
  const failing = FLOWS.map((flow) =>
    flow.id === 'a' ? made('a', gold, { last_execution_status: 'error' }) : flow,
  )
  const now = sorted(
    rolledUp(failing, worse, 'tier', () => true),
    undefined,
    false,
    GROUPING,
  )
  expect(now.map(key)).not.toEqual(before.map(key))
  expect(kept(now, before.map(key), key, GROUPING).map(key)).toEqual(before.map(key))
})

test('failed ones are on top', () => {
  const rows = sorted(flat(FLOWS, stateOf), (a, b) => rank(a.state) - rank(b.state), false)
  expect(rows.map(key)).toEqual(['c', 'b', 'a', 'd', 'e'])
})

test('labels are found, the most used key first', () => {
  const flows = [made('x', { labels: { site: 'b', tier: 'gold' } }), ...FLOWS]
  expect(labelKeys(flows)).toEqual(['tier', 'site'])
  expect(labels(flows)).toEqual(['site=b', 'tier=gold', 'tier=silver'])
  expect(choices(flows, (flow) => [flow.repository_id, flow.repository_name])).toEqual([['r', 'Repository']])
})

test.each([
  [{}, true],
  [{ state: 'good' }, true],
  [{ state: 'failed' }, false],
  [{ label: 'tier=gold' }, true],
  [{ label: 'tier' }, true],
  [{ label: 'tier=silver' }, false],
  [{ schedule: 'none' }, true],
  [{ schedule: 's' }, false],
  [{ repository: 'r', type: 'backup', enabled: 'yes', policy: 'none' }, true],
  [{ enabled: 'no' }, false],
  [{ q: 'A vm' }, true],
  [{ q: 'a other' }, false],
])('a flow of tier gold is wanted by %o: %s', (filter, is) => {
  expect(wanted(made('a', gold), 'good', filter)).toBe(is)
})

test('the rate of success is of those that ended', () => {
  expect(successRate(made('a'))).toBeNull()
  expect(
    successRate(made('a', {}, { successful_executions: 9, failed_executions: 1, total_executions: 11 })),
  ).toBe(90)
})
