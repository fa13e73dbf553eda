import { expect, test } from 'vitest'

import { bytes, count, plural } from './numbers'
import { bounds, day, duration, instants, long, named, relative, short } from './time'

const NOW = new Date('2026-11-25T12:00:00Z')
const at = (text: string): Date => new Date(text)

test.each([
  ['2026-11-25T02:00:00Z', 'Europe/Berlin', '03:00'],
  ['2026-11-24T02:00:00Z', 'Europe/Berlin', 'Tue 24 Nov 03:00'],
  ['2025-11-24T23:30:00Z', 'Europe/Berlin', '25 Nov 2025 00:30'],
  ['2026-11-25T23:30:00Z', 'Asia/Tokyo', 'Thu 26 Nov 08:30'],
])('%s in %s is %s', (text, zone, said) => {
  expect(short(at(text), NOW, zone)).toBe(said)
})

test('a day is that of the zone', () => {
  expect(day(at('2026-11-24T23:30:00Z'), 'Europe/Berlin')).toBe('2026-11-25')
  expect(long(at('2026-11-25T02:00:00Z'), 'Europe/Berlin')).toContain('(Europe/Berlin)')
})

test('a day has bounds, and a name', () => {
  const found = bounds('2026-11-24')
  expect(found).not.toBeNull()
  expect(day(new Date(found?.from ?? ''))).toBe('2026-11-24')
  expect(day(new Date(found?.to ?? ''))).toBe('2026-11-25')
  expect([bounds('yesterday'), bounds('2026-13-45')]).toEqual([null, null])
  expect(named('2026-11-24')).toBe('Tue 24 Nov 2026')
})

test.each([
  ['2026-11-25T11:59:30Z', 'just now'],
  ['2026-11-25T12:00:30Z', 'in a moment'],
  ['2026-11-25T12:00:01Z', 'just now'], // by a clock that is a second behind the engine's
  ['2026-11-25T11:55:00Z', '5 min ago'],
  ['2026-11-25T15:00:01Z', 'in 3 h'],
  ['2026-11-13T12:00:00Z', '12 days ago'],
])('%s is %s', (text, said) => {
  expect(relative(at(text), NOW)).toBe(said)
})

test.each([
  [0.84, '0.8 s'],
  [42.4, '42 s'],
  [200, '3 min 20 s'],
  [120, '2 min'],
  [7500, '2 h 5 min'],
  [273_600, '3 d 4 h'],
])('%d seconds are %s', (seconds, said) => {
  expect(duration(seconds)).toBe(said)
})

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1500, '1.5 kB'],
  [999_960, '1 MB'],
  [320e9, '320 GB'],
  [5e18, '5000 PB'],
])('%d bytes are %s', (value, said) => {
  expect(bytes(value)).toBe(said)
})

test('instants are found in what the engine says', () => {
  expect(instants('it began at 2026-11-25T01:13:28Z, late; due 2026-11-25T02:00:00.5+01:00')).toEqual([
    ...['it began at ', '2026-11-25T01:13:28Z', ', late; due ', '2026-11-25T02:00:00.5+01:00', ''],
  ])
  expect(instants('on 2026-11-25')).toEqual(['on 2026-11-25'])
})

test('numbers of things', () => {
  expect(count(1234567)).toBe('1,234,567')
  expect([plural(1, 'VM'), plural(1200, 'VM'), plural(0, 'policy', 'policies')]).toEqual([
    '1 VM',
    '1,200 VMs',
    '0 policies',
  ])
})
