import { expect, test } from 'vitest'

import { made } from '../made'
import { changes, missing, written } from './written'

test('a flow is written as it is', () => {
  const flow = made('f', { overlap_policy: 'allow', labels: { tier: 'gold' }, target_type: 'vm' })
  expect(written(flow)).toMatchObject({
    name: 'f',
    overlap_policy: 'allow',
    labels: { tier: 'gold' },
    target_type: 'vm',
    repository_id: 'r',
  })
  expect(written(flow).labels).not.toBe(flow.labels)
})

test('what somebody else has changed is named', () => {
  const began = written(made('f'))
  const theirs = written(made('f', { priority: 3, labels: { a: 'b' } }))
  expect(changes(began, theirs)).toEqual(['labels', 'priority'])
  expect(changes(began, began)).toEqual([])
})

test('what is still to be chosen is said', () => {
  expect(missing(written())).toEqual(['what to back up', 'where to'])
  expect(missing(written(made('f')))).toEqual([])
})
