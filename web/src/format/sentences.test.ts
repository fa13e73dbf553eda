import { expect, test } from 'vitest'

import { sentence } from './sentences'

test.each([
  ['Expected `str` of length >= 1', 'This is needed.'],
  ['this field is required', 'This is needed.'],
  ['Expected `str` of length <= 255', 'At most 255 characters.'],
  ['Expected `int` >= 1', 'It must be 1 or more.'],
  ['Expected `int | null`, got `str`', 'It must be a whole number.'],
  ['Expected `array` of length >= 1', 'At least one is needed.'],
  ['Expected `int`, got `null`', 'This is needed.'],
  ["Expected `str` matching regex '^[a-z]$'", 'It has characters that are not taken here, or is too long.'],
  ['there is no group with the id or name ‘x’', 'There is no group with the id or name ‘x’.'],
  ['Is it there?', 'Is it there?'],
])('%s: %s', (message, said) => {
  expect(sentence(message)).toBe(said)
})
