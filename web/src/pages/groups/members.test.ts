import { expect, test } from 'vitest'

import { inOrder, moved, resolved } from './members'

const VMS = [
  { context_id: 'vm-1', vm_name: 'Web' },
  { context_id: 'vm-2', vm_name: 'db' },
  { context_id: 'vm-3', vm_name: 'db' },
]

test('VMs are named by id or name, and what is not clear is said', () => {
  expect(resolved('web\nvm-1, vm-3\ndb\nmail', VMS)).toEqual({
    ids: ['vm-1', 'vm-3'],
    unknown: ['mail'],
    several: ['db'],
  })
})

test('a member is moved past its neighbour, until it is at the end', () => {
  const members = [{ context_id: 'a', priority: 5 }, { context_id: 'b', priority: 0 }, { context_id: 'c' }]
  expect(inOrder(members).map((one) => one.context_id)).toEqual(['a', 'b', 'c'])
  expect(moved(members, 'b', true)).toBe(6)
  expect(moved(members, 'b', false)).toBe(-1)
  expect(moved(members, 'a', true)).toBeNull()
  expect(moved(members, 'gone', true)).toBeNull()
  expect(moved([{ context_id: 'a', priority: 1000 }, { context_id: 'b' }], 'b', true)).toBeNull()
})
