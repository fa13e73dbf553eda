import { expect, test } from 'vitest'

import { shaped, written } from './shape'

test.each([
  ['*/15 * * * *', 'minutes'],
  ['0 * * * *', 'hourly'],
  ['5 */6 * * *', 'hourly'],
  ['30 2 * * *', 'daily'],
  ['0 2 * * 1-5', 'weekly'],
  ['0 2 * * 0,6', 'weekly'],
  ['0 2 1 * *', 'monthly'],
  ['0 2 L * *', 'monthly'],
  ['0 2 * * 1#2', 'monthly'],
  ['0 2 * * L5', 'monthly'],
])('%s is found again as it was built: %s', (cron, kind) => {
  const shape = shaped(cron)
  expect(shape.kind).toBe(kind)
  expect(written(shape, 'none')).toBe(cron)
})

test.each([
  ...['*/7 * * * *', '0,30 2 * * *', '0 2,14 * * *', '0 2 1 1 *', '0 2 1 * 1', '0 2 1,L * *', '0 2 */2 * *'],
  ...['0 */5 * * *', '*/15 8-17 * * *', '0 2 * * 1,1#2', '0 * * * 1', 'nonsense', ''],
])('what is none of the usual ones stays as it is written: %s', (cron) => {
  const shape = shaped(cron)
  expect(shape.kind).toBe('custom')
  expect(written(shape, cron)).toBe(cron)
})

test('a name is the shape that it stands for', () => {
  expect(shaped('@daily')).toMatchObject({ kind: 'daily', time: '00:00' })
})
