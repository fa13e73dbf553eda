import { expect, test } from 'vitest'

import { match } from './match'

test.each([
  ['/', '/', {}],
  ['/flows', '/flows', {}],
  ['/flows', '/flows/', {}],
  ['/flows/{id}', '/flows/a%20b', { id: 'a b' }],
  ['/flows/{id}', '/flows', null],
  ['/flows/{id}', '/flows/', null],
  ['/flows', '/flows/x', null],
  ['/flows/{id}', '/flows/%E0%A4%A', null],
])('%s of %s', (shape, path, parameters) => {
  expect(match(shape, path)).toEqual(parameters)
})
