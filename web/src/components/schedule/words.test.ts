import { expect, test } from 'vitest'

import { reading } from './words'

test.each([
  ['0 2 * * *', 'every day at 02:00'],
  ['@daily', 'every day at 00:00'],
  ['@hourly', 'every hour'],
  ['@yearly', 'on the 1st of the month at 00:00 in January'],
  ['* * * * *', 'every minute'],
  ['*/15 * * * *', 'every 15 minutes'],
  ['*/7 * * * *', 'every 7 minutes of each hour'],
  ['5 * * * *', 'every hour, 05 past'],
  ['0,30 * * * *', 'every hour, 00 and 30 past'],
  ['0 */6 * * *', 'every 6 hours'],
  ['15 */5 * * *', 'every 5 hours of each day, 15 past'],
  ['*/10 */2 * * *', 'every 10 minutes of every 2 hours'],
  ['0 2,14 * * *', 'every day at 02:00 and 14:00'],
  ['0,30 2 * * 6', 'every Saturday at 02:00 and 02:30'],
  ['0 8-18 * * mon-fri', 'every hour from 08:00 to 18:00, Monday to Friday'],
  ['*/15 8-17 * * *', 'every 15 minutes from 08:00 to 17:59'],
  ['0 2 * * 1-5', 'Monday to Friday at 02:00'],
  ['0 2 * * 6,0', 'every Saturday and Sunday at 02:00'],
  ['0 2 * * 7', 'every Sunday at 02:00'],
  ['0 2 * * fri-mon', 'every Monday and Friday to Sunday at 02:00'],
  ['0 2 1 * *', 'on the 1st of the month at 02:00'],
  ['0 2 1,15,L * *', 'on the 1st, 15th and last day of the month at 02:00'],
  ['0 2 */2 * *', 'on every 2nd day of the month at 02:00'],
  ['0 2 11-13 * *', 'on the 11th to 13th of the month at 02:00'],
  ['0 2 * * 1#2', 'on the second Monday of the month at 02:00'],
  ['0 2 * * L5', 'on the last Friday of the month at 02:00'],
  ['0 2 1 * 1', 'on the 1st of the month and every Monday at 02:00'],
  ['0 2 1 1,7 *', 'on the 1st of the month at 02:00 in January and July'],
  ['0 22-2 * * *', 'every day at 00:00, 01:00, 02:00, 22:00 and 23:00'],
  ['30 2 ? * *', 'every day at 02:30'],
])('%s is: %s', (cron, said) => {
  expect(reading(cron)).toBe(said)
})

test.each([
  '',
  'x',
  '0 2 * *',
  '60 2 * * *',
  '0 24 * * *',
  '0 2 0 * *',
  '0 2 * * 5L',
  '0 2 * * * *',
  '*/0 * * * *',
])('what is none is quoted: %s', (cron) => {
  expect(reading(cron)).toBe(`cron “${cron}”`)
})
