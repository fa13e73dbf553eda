import { expect, test } from 'vitest'

import { byFlow, isHeld } from './held'

const entry = (
  flow: string,
  outcome: 'frozen' | 'expected' | 'skipped',
  at: string,
  reason: string | null = null,
) => ({
  ...{ flow_id: flow, flow_name: flow.toUpperCase(), outcome, occurrence: at, count: 1, reason },
})

test('what a freeze holds back, and has held back, is counted by flow', () => {
  const entries = [
    entry(
      'b',
      'skipped',
      '2026-11-25T01:00:00Z',
      'no scheduled start until 2026-11-26T06:00:00Z: stocktaking',
    ),
    entry('b', 'skipped', '2026-11-25T02:00:00Z', 'the flow is disabled'),
    entry('a', 'frozen', '2026-11-25T03:00:00Z'),
    entry('b', 'frozen', '2026-11-25T04:00:00Z'),
    entry('c', 'expected', '2026-11-27T03:00:00Z'),
  ]
  expect(byFlow(entries, isHeld)).toEqual([
    { flow_id: 'b', flow_name: 'B', starts: 2, first: '2026-11-25T01:00:00Z' },
    { flow_id: 'a', flow_name: 'A', starts: 1, first: '2026-11-25T03:00:00Z' },
  ])
})
