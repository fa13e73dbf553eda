import { expect, test } from 'vitest'

import { by, kept, sorted } from './order'

const id = (text: string): string => text

test('what is pointed at does not move, and what is new comes last', () => {
  expect(kept(['c', 'new', 'a', 'b'], ['a', 'b', 'gone', 'c'], id)).toEqual(['a', 'b', 'c', 'new'])
})

test('text is sorted with its numbers, and what is not there comes last', () => {
  const rows = [{ n: 'vm-10' }, { n: null }, { n: 'vm-9' }, { n: 'VM-1' }]
  expect(
    sorted(
      rows,
      by((row) => row.n),
      false,
    ).map((row) => row.n),
  ).toEqual(['VM-1', 'vm-9', 'vm-10', null])
})

test('equal ones stay as they came', () => {
  const rows = [
    { n: 1, x: 'a' },
    { n: 0, x: 'b' },
    { n: 1, x: 'c' },
  ]
  const compare = by((row: { n: number }) => row.n)
  expect(sorted(rows, compare, false).map((row) => row.x)).toEqual(['b', 'a', 'c'])
  expect(sorted(rows, compare, true).map((row) => row.x)).toEqual(['a', 'c', 'b'])
})

const grouping = {
  of: (row: { group: string }) => row.group,
  head: (row: { name: string }) => row.name === '',
}
const row = (group: string, name = '') => ({ group, name })
const key = (one: { group: string; name: string }): string => `${one.group}/${one.name}`

test('groups stay as they are given, each with its head first, whichever way it is sorted', () => {
  const rows = [row('b'), row('b', 'x'), row('b', 'y'), row('a'), row('a', 'z')]
  const compare = by((one: { name: string }) => one.name)
  expect(sorted(rows, compare, true, grouping).map(key)).toEqual(['b/', 'b/y', 'b/x', 'a/', 'a/z'])
})

test('what is pointed at does not move, and what a group unfolds stands below its head', () => {
  const rows = [row('b'), row('b', 'x'), row('b', 'new'), row('a'), row('a', 'z')]
  const before = ['a/', 'b/', 'b/x']
  expect(kept(rows, before, key, grouping).map(key)).toEqual(['a/', 'a/z', 'b/', 'b/x', 'b/new'])
})
