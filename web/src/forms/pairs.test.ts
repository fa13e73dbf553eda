import { expect, test } from 'vitest'

import { Problem } from '../api/client'
import { listed, parsed, written } from './pairs'

test('labels are read as they are written', () => {
  const labels = { site: 'north', note: 'a=b' }
  expect(parsed(written(labels), 'labels')).toEqual(labels)
  expect(parsed('', 'labels')).toEqual({})
  expect(written(undefined)).toBe('')
})

test('a label without a value is a problem at its field', () => {
  try {
    parsed('site=north, gold', 'worker_labels')
    expect.unreachable()
  } catch (error) {
    expect(error).toBeInstanceOf(Problem)
    expect((error as Problem).of('worker_labels')).toContain('“gold” has no value')
  }
})

test('what is pasted is taken line by line, each once', () => {
  expect(listed(' vm-1\nvm-2, vm-1;\n\n vm-3 ')).toEqual(['vm-1', 'vm-2', 'vm-3'])
})
