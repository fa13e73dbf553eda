import { expect, test } from 'vitest'

import { grouped, grouping, itemsOf, told, type Flow } from './items'
import { concurrency, lanes, outline, peak } from './lanes'
import { merged, scaled } from './scale'
import { HOUR, moved, range, read, zoomed } from './span'
import { ticks } from './ticks'

const DAY = 24 * HOUR
const r = (from: number, to: number) => ({ from, to })

test('what overlaps or is near is one range', () => {
  expect(merged([r(5, 6), r(0, 2), r(1, 3), r(3.5, 4)])).toEqual([r(0, 3), r(3.5, 4), r(5, 6)])
  expect(merged([r(5, 6), r(0, 2), r(3, 4)], 1)).toEqual([r(0, 6)])
})

test('without gaps to squeeze, time is even, and places give back their instants', () => {
  const scale = scaled(r(0, 1000), 500)
  expect([scale.x(0), scale.x(250), scale.x(1000)]).toEqual([0, 125, 500])
  expect(scale.at(125)).toBe(250)
  expect(scale.x(-100)).toBe(-50)
  expect(scale.x(1200)).toBe(600)
})

test('long gaps are squeezed, and what runs has their room', () => {
  const scale = scaled(r(0, DAY), 1000, [r(HOUR, 2 * HOUR), r(22 * HOUR, 23 * HOUR)])
  const gaps = scale.pieces.filter((one) => one.squeezed)
  expect(gaps).toHaveLength(1)
  expect(gaps[0]?.width).toBe(26)
  expect(scale.x(2 * HOUR) - scale.x(HOUR)).toBeGreaterThan(200)
  expect(scale.pieces.at(0)?.from).toBe(0)
  expect(scale.pieces.at(-1)?.to).toBe(DAY)
  expect(scale.x(DAY)).toBeCloseTo(1000)
  for (const at of [0, HOUR, 3 * HOUR, 12 * HOUR, 22.5 * HOUR, DAY])
    expect(scale.at(scale.x(at))).toBeCloseTo(at, 3)
})

test('the pieces of a squeezed scale follow each other without a hole, wherever things run', () => {
  for (const busy of [[r(0, 1)], [r(DAY - 1, DAY)], [r(0, DAY)], [r(-5, -1)], [], [r(HOUR, HOUR)]]) {
    const { pieces } = scaled(r(0, DAY), 800, busy)
    expect(pieces[0]?.from).toBe(0)
    expect(pieces.at(-1)?.to).toBe(DAY)
    for (const [n, one] of pieces.entries()) if (n > 0) expect(one.from).toBe(pieces[n - 1]?.to)
  }
})

test('very many gaps still leave half of the room', () => {
  const busy = Array.from({ length: 29 }, (_, n) => r((n * DAY) / 14, (n * DAY) / 14))
  const scale = scaled(r(0, 2 * DAY), 300, busy)
  expect(scale.pieces.every((one) => one.width > 0)).toBe(true)
  expect(scale.x(2 * DAY)).toBeCloseTo(300)
})

test('what overlaps has a lane of its own; beyond three the last takes all', () => {
  const found = lanes([r(0, 10), r(5, 8), r(8, 12), r(6, 7), r(6, 9)])
  expect(found.placed.map(({ one, lane }) => [one.from, lane])).toEqual([
    [0, 0],
    [5, 1],
    [6, 2],
    [6, 2],
    [8, 1],
  ])
  expect(found.count).toBe(3)
  expect(lanes([r(0, 1), r(1, 2)]).count).toBe(1)
  expect(lanes([]).count).toBe(1)
})

test('how many there are at once', () => {
  const steps = concurrency([r(0, 10), r(5, 10), r(10, 20), r(7, 7)])
  expect(steps).toEqual([
    { at: 0, count: 1 },
    { at: 5, count: 2 },
    { at: 10, count: 1 },
    { at: 20, count: 0 },
  ])
  expect(peak(steps, r(0, 20))).toEqual({ at: 5, count: 2 })
  expect(peak(steps, r(12, 30))).toEqual({ at: 12, count: 1 })
  expect(peak(steps, r(30, 40))).toBeNull()
  expect(outline(steps, (at) => at, 10, 2)).toBe('M0 10V5H5V0H10V5H20V10Z')
  expect(outline([], (at) => at, 10, 2)).toBe('')
})

test('ticks are at round times, and can be read', () => {
  const from = new Date(2026, 10, 24, 13, 20).getTime()
  const found = ticks(scaled(r(from, from + DAY), 900))
  expect(found.length).toBeGreaterThan(5)
  expect(found.every((one) => one.at.getMinutes() === 0 && one.at.getHours() % 2 === 0)).toBe(true)
  expect(found.filter((one) => one.day)).toHaveLength(1)
  const week = ticks(scaled(r(from, from + 30 * DAY), 900))
  expect(week.every((one) => one.day)).toBe(true)
  for (const [n, one] of week.entries()) if (n > 0) expect(one.x - (week[n - 1]?.x ?? 0)).toBeGreaterThan(50)
})

test('one zooms around an instant, and the range moves with now until one moves it', () => {
  const now = 100 * DAY
  const first = { span: DAY, at: null }
  expect(range(first, now)).toEqual(r(now - 0.5 * DAY, now + 0.5 * DAY))
  expect(zoomed(first, 0.5, now)).toEqual({ span: DAY / 2, at: null })
  const around = now - 0.1 * DAY
  const near = range(zoomed(first, 0.5, now, around), now)
  expect((around - near.from) / (near.to - near.from)).toBeCloseTo(0.4)
  expect(range(moved(first, HOUR, now), now).from).toBe(now - 0.5 * DAY + HOUR)
  expect(zoomed(first, 1e-9, now).span).toBe(HOUR / 6)
})

test('what is read reaches beyond what is shown, and is the same a little later', () => {
  const shown = r(1000 * DAY, 1001 * DAY)
  const wanted = read(shown)
  expect(wanted.from).toBeLessThanOrEqual(shown.from - DAY / 8)
  expect(wanted.to).toBeGreaterThanOrEqual(shown.to + DAY / 8)
  expect(wanted.to - wanted.from).toBeLessThan(5 * DAY)
  const seen = new Set(
    Array.from({ length: 288 }, (_, n) => read(r(shown.from + n * 300_000, shown.to + n * 300_000)).from),
  )
  expect(seen.size).toBeLessThanOrEqual(4)
})

const NOW = Date.parse('2026-11-25T12:00:00Z')
const BAR = {
  ...{
    execution_id: 'e1',
    execution_type: 'scheduled' as const,
    kind: 'scheduled' as const,
    occurrence: null,
  },
  ...{ created_at: '2026-11-25T11:00:00Z', started_at: '2026-11-25T11:30:00Z', completed_at: null },
  ...{ status: 'running' as const, bytes: 5 },
}
const COMING = {
  outcome: 'expected',
  reason: null,
  expected_seconds: 7200,
  occurrence: '2026-11-26T01:00:00Z',
}
const FLOW: Flow = {
  ...{ flow_id: 'f1', flow_name: 'Nightly', labels: { site: 'oslo' }, enabled: true, more: false },
  ...{ repository_id: 'r1', repository_name: 'Vault', more_coming: false, bars: [BAR] },
  coming: [{ ...COMING, at: '2026-11-26T01:05:00Z' }],
}

test('what runs lasts until now, and is expected to end as the flow usually does', () => {
  const [first, next] = itemsOf(FLOW, NOW)
  expect(first?.to).toBe(NOW)
  expect(first?.until).toBe(Date.parse('2026-11-25T13:30:00Z'))
  expect(next).toMatchObject({ state: 'expected', href: '/flows/f1', to: Date.parse('2026-11-26T03:05:00Z') })
  expect(itemsOf(FLOW, NOW).map((one) => told(one, new Date(NOW)))[0]).toMatch(
    /^Nightly, scheduled, running from .*, for 30 min, 2 h expected$/,
  )
})

test('what waits is shown since it waits, and what is frozen says why', () => {
  const bars = [{ ...BAR, status: 'pending' as const, started_at: null }]
  const frozen = { ...COMING, outcome: 'frozen', reason: 'a move', at: '2026-11-26T01:05:00Z' }
  const items = itemsOf({ ...FLOW, bars, coming: [frozen] }, NOW)
  const [first, next] = items.map((one) => told(one, new Date(NOW)))
  expect(items[0]).toMatchObject({ from: Date.parse('2026-11-25T11:00:00Z'), until: null })
  expect(first).toMatch(/waits for 1 h$/)
  expect(next).toMatch(/frozen at .*, a move$/)
})

test('flows are grouped by a label or their repository, those without last', () => {
  const none = { ...FLOW, flow_id: 'f2', labels: {}, repository_name: null }
  expect(grouped([none, FLOW], grouping('label:site'))?.map((one) => one.name)).toEqual([
    'oslo',
    'without site',
  ])
  expect(grouped([none, FLOW], grouping('repository'))?.map((one) => one.name)).toEqual([
    'Vault',
    'without repository',
  ])
  expect(grouped([FLOW], grouping(null))).toBeNull()
})
