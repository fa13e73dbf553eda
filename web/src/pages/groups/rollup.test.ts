import { expect, test } from 'vitest'

import { rollup } from './rollup'

const of = (...ids: string[]) => ids.map((group_id) => ({ group_id, group_name: group_id, enabled: true }))

test('a group is as the worst of its VMs, and each state is counted', () => {
  const found = rollup([
    { state: 'protected', groups: of('a', 'b') },
    { state: 'stale', groups: of('a') },
    { state: 'protected', groups: of('a') },
    { state: 'failing', groups: of() },
  ])
  expect(found.get('a')).toEqual({ worst: 'stale', counts: { protected: 2, stale: 1 } })
  expect(found.get('b')).toEqual({ worst: 'protected', counts: { protected: 1 } })
  expect(found.get('c')).toBeUndefined()
})
