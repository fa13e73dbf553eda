// What the engine says of a field, as a sentence that stands below it.

const TYPES: Record<string, string> = {
  str: 'a text',
  int: 'a whole number',
  float: 'a number',
  bool: 'yes or no',
  array: 'a list',
  object: 'an object',
  datetime: 'a date and a time',
  date: 'a date',
  null: 'nothing',
}

// how the decoder words it, and how people do
const WORDS: readonly (readonly [RegExp, (found: readonly string[]) => string])[] = [
  [/^this field is required$/, () => 'This is needed'],
  [/^Expected `str` of length >= 1$/, () => 'This is needed'],
  [/^Expected `str` of length >= (\d+)$/, ([least]) => `At least ${many(least, 'character')}`],
  [/^Expected `str` of length <= (\d+)$/, ([most]) => `At most ${many(most, 'character')}`],
  [/^Expected `(?:array|object)` of length >= 1$/, () => 'At least one is needed'],
  [/^Expected `(?:array|object)` of length >= (\d+)$/, ([least]) => `At least ${String(least)} are needed`],
  [/^Expected `(?:array|object)` of length <= (\d+)$/, ([most]) => `At most ${String(most)} are taken`],
  [/^Expected `(?:int|float)` >= (-?[\d.]+)$/, ([least]) => `It must be ${String(least)} or more`],
  [/^Expected `(?:int|float)` <= (-?[\d.]+)$/, ([most]) => `It must be ${String(most)} or less`],
  [/^Expected `str` matching regex /, () => 'It has characters that are not taken here, or is too long'],
  [/^Expected `datetime` with a timezone component$/, () => 'The time zone is missing'],
  [/^Invalid RFC3339 encoded datetime$/, () => 'This is no date and time'],
  [/^Expected `([^`]+)`, got `null`$/, () => 'This is needed'],
  [/^Expected `([^`]+)`, got `[^`]+`$/, ([wanted = '']) => `It must be ${type(wanted)}`],
  [/^it must be one of (.+)$/, ([all]) => `It must be one of ${String(all)}`],
]

/** Return what the engine says of a field as a sentence: begun large, and ended. */
export function sentence(message: string): string {
  for (const [words, said] of WORDS) {
    const found = words.exec(message)
    if (found !== null) return `${said(found.slice(1))}.`
  }
  const begun = message.charAt(0).toUpperCase() + message.slice(1)
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`
}

function type(wanted: string): string {
  return wanted
    .split(' | ')
    .filter((one) => one !== 'null')
    .map((one) => TYPES[one] ?? one)
    .join(' or ')
}

function many(number: string | undefined, what: string): string {
  return `${String(number)} ${what}${number === '1' ? '' : 's'}`
}
