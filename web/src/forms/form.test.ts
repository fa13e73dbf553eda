import { expect, test } from 'vitest'

import { Problem } from '../api/client'
import { Form } from './form.svelte'

test('what is wrong with a field is said at it, and above the buttons only what has no field', async () => {
  const errors = [
    { field: 'name', message: 'Expected `str` of length >= 1' },
    { field: 'digest', message: 'this field is unknown' },
  ]
  const form = new Form({ name: '' }, () =>
    Promise.reject(new Problem(422, 'Invalid field', 'name: …', errors)),
  )
  await form.submit()
  expect(form.of('name')).toBe('This is needed.')
  expect(form.elsewhere?.errors.map((one) => one.field)).toEqual(['digest'])
  form.of('digest')
  expect(form.elsewhere).toBeNull()
})
