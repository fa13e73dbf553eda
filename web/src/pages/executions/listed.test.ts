import { expect, test } from 'vitest'

import { extended, kindOf, renewed } from './listed'

function at(minute: number, id = String(minute)) {
  return { id, created_at: new Date(minute * 60_000).toISOString() }
}

const minutes = (some: { id: string }[]): string[] => some.map((one) => one.id)

test('the beginning of a list is read anew: what is new is there, what left it is gone, what is older stays', () => {
  const known = [at(9), at(8), at(7), at(6)]
  expect(minutes(renewed(known, [at(10), at(9), at(7)], 5))).toEqual(['10', '9', '7', '6'])
})

test('a list that is read whole is what was read', () => {
  expect(minutes(renewed([at(9), at(8)], [at(9)], 1))).toEqual(['9'])
  expect(renewed([at(9)], [], 0)).toEqual([])
})

test('when more came than a page has, nothing is taken for the whole', () => {
  expect(minutes(renewed([at(2), at(1)], [at(9), at(8)], 9))).toEqual(['9', '8'])
})

test('at its end a list grows, and nothing is in it twice', () => {
  const again = { ...at(8), more: true }
  const all = extended<{ id: string; created_at: string; more?: boolean }>([at(9), at(8)], [again, at(7)])
  expect(minutes(all)).toEqual(['9', '8', '7'])
  expect(all[1]).toBe(again)
})

test('those of one instant are in the order of the API', () => {
  expect(minutes(extended([at(1, 'a')], [at(1, 'b')]))).toEqual(['b', 'a'])
})

test('a retry of a backfill is a retry, and what nobody scheduled is manual', () => {
  const none = { retry_of: null, backfill_id: null }
  expect(kindOf({ ...none, execution_type: 'scheduled' })).toBe('scheduled')
  expect(kindOf({ ...none, execution_type: 'manual' })).toBe('manual')
  expect(kindOf({ ...none, backfill_id: 'b', execution_type: 'scheduled' })).toBe('backfill')
  expect(kindOf({ retry_of: 'e', backfill_id: 'b', execution_type: 'manual' })).toBe('retry')
})
