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
