import { expect, test } from 'vitest'

import { concerns, parse } from './events'

test('an event has its sequence', () => {
  expect(parse('7', '{"type":"flow.due","subject":"f","time":"t","data":{}}')).toMatchObject({
    sequence: 7,
    type: 'flow.due',
  })
})

test.each([
  [undefined, '{}'],
  ['x', '{}'],
  ['1', '{'],
])('what is no event is none: %s %s', (sequence, body) => {
  expect(parse(sequence, body)).toBeNull()
})

test('a family takes its types, and no other of a like name', () => {
  const event = { sequence: 1, type: 'flow.completed', subject: 'f', time: '', data: {} }
  expect(concerns(event, ['flow'])).toBe(true)
  expect(concerns(event, ['flow.completed'])).toBe(true)
  expect(concerns(event, ['fl', 'backup'])).toBe(false)
})
