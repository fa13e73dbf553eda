import { expect, test } from 'vitest'

import { labelled, plan, type Verb } from './bulk'
import { made } from './made'
import { stateOf } from './state'

const FLOWS = [
  made('on', { labels: { tier: 'gold' } }),
  made('off', { enabled: false }),
  made('runs', {}, { last_execution_status: 'running' }),
  made('queues', { overlap_policy: 'buffer_one' }, { last_execution_status: 'running' }),
  made('copies', { flow_type: 'replication' }),
]

test.each([
  ['enable', ['off']],
  ['disable', ['on', 'runs', 'queues', 'copies']],
  ['run', ['on', 'off', 'queues']],
  ['cancel', ['runs', 'queues']],
  ['delete', ['on', 'off', 'copies']],
  ['label', ['off', 'runs', 'queues', 'copies']],
  ['unlabel', ['on']],
] as [Verb, string[]][])('%s can be done with %s', (verb, ids) => {
  const { can, cannot } = plan(verb, FLOWS, stateOf, { key: 'tier', value: 'gold' })
  expect(can.map((flow) => flow.id)).toEqual(ids)
  expect(can.length + cannot.length).toBe(FLOWS.length)
  expect(cannot.every(([, reason]) => reason.length > 0)).toBe(true)
})

test('a label takes the place of its other value, and the others stay', () => {
  const flow = made('f', { labels: { tier: 'gold', site: 'b' } })
  expect(labelled('label', flow, { key: 'tier', value: 'silver' })).toEqual({ tier: 'silver', site: 'b' })
  expect(labelled('unlabel', flow, { key: 'tier', value: '' })).toEqual({ site: 'b' })
})
