import { expect, test } from 'vitest'

import { allKeys, allLabels, byState, countsOf, matching, rolledUp, stateOf, type Vm } from './vms'

function vm(name: string, more: Partial<Vm> = {}): Vm {
  return {
    ...{
      context_id: name,
      vm_name: name,
      enabled: true,
      state: 'protected',
      reason: '',
      tags: [],
      labels: {},
    },
    ...{ groups: [], flows: [], last_good_at: null, last_attempt_at: null, last_error: null },
    ...{ worst_gap_seconds: null, bytes: 0 },
    ...more,
  }
}

const VMS = [
  vm('web-2', { labels: { site: 'a' }, tags: ['linux'] }),
  vm('web-10', { labels: { site: 'b' }, state: 'failing' }),
  vm('db-1', {
    groups: [{ group_id: 'g', group_name: 'Databases', enabled: true }],
    flows: [{ id: 'f', name: 'Nightly', scheduled: true }],
    state: 'stale',
  }),
]
const ALL = { state: null, text: '', label: '', group: '' }

test.each([
  [ALL, ['web-2', 'web-10', 'db-1']],
  [{ ...ALL, text: 'WEB lin' }, ['web-2']],
  [{ ...ALL, text: 'site=b' }, ['web-10']],
  [{ ...ALL, text: 'nightly data' }, ['db-1']],
  [{ ...ALL, state: 'failing' as const }, ['web-10']],
  [{ ...ALL, label: 'site=a' }, ['web-2']],
  [{ ...ALL, group: 'g' }, ['db-1']],
  [{ ...ALL, group: 'g', text: 'web' }, []],
])('%j finds %j', (wanted, names) => {
  expect(matching(VMS, wanted).map((one) => one.vm_name)).toEqual(names)
})

test('what is worst comes first, and names by their numbers', () => {
  expect([...VMS, vm('web-1')].sort(byState).map((one) => one.vm_name)).toEqual([
    'web-10',
    'db-1',
    'web-1',
    'web-2',
  ])
})

test('labels that there are', () => {
  expect([allLabels(VMS), allKeys(VMS)]).toEqual([['site=a', 'site=b'], ['site']])
})

test('states are counted, also by label; those without it come last', () => {
  expect(countsOf(VMS)).toMatchObject({ failing: 1, stale: 1, protected: 1, excluded: 0 })
  expect(rolledUp(VMS, 'site').map((one) => [one.value, one.vms.length, one.counts.failing])).toEqual([
    ['a', 1, 0],
    ['b', 1, 1],
    ['', 1, 0],
  ])
})

test('a state in the address that is none is not one', () => {
  expect([stateOf('stale'), stateOf('happy'), stateOf(null)]).toEqual(['stale', null, null])
})
