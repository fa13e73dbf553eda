import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import type { LogEvent } from '../live/events'
import type { LogFilter } from './filter'
import { LogWindow } from './window.svelte'

const ALL: LogFilter = { pattern: '', flow: '', execution: '', vm: '', from: '', to: '' }

function event(sequence: number, type = 'backup.failed'): LogEvent {
  return { sequence, type, subject: 'f1', time: '2026-11-25T03:00:00Z', data: { flow_id: 'f1' } }
}

/** A log of so many events, of which `page` are read at a time. */
function of(log: LogEvent[], wanted: Partial<LogFilter> = {}, page = 3) {
  const read = (before: number) => {
    const found = log.filter((one) => one.sequence < before)
    return Promise.resolve({ events: found.slice(-page), more: found.length > page })
  }
  return new LogWindow({ ...ALL, ...wanted }, read, () => [])
}

function shown(view: LogWindow): number[] {
  return view.lines.map((line) => line.key)
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('it begins with the newest, takes what comes, and goes back to the first', async () => {
  const view = of([1, 2, 3, 4, 5].map((n) => event(n)))
  const begins = view.begin()
  view.hear([event(5), event(6)], false) // while it is read
  await begins
  expect(shown(view)).toEqual([3, 4, 5, 6])
  view.hear([event(7)], false)
  await view.older()
  expect([shown(view), view.complete, view.count]).toEqual([[1, 2, 3, 4, 5, 6, 7], true, 7])
  view.stop()
})

test('what is not wanted does not come', async () => {
  const view = of([], { pattern: 'flow.*' })
  await view.begin()
  view.hear([event(1), event(2, 'flow.due')], false)
  expect(shown(view)).toEqual([2])
  view.stop()
})

test('what comes while it is paused waits, and then comes', async () => {
  const view = of([event(1)])
  await view.begin()
  view.pause(true)
  view.hear([event(2), event(3)], false)
  expect([shown(view), view.held]).toEqual([[1], 2])
  view.pause(false)
  expect([shown(view), view.held]).toEqual([[1, 2, 3], 0])
  view.stop()
})

test('what the tables had not yet when it began is read a little later', async () => {
  const log = [event(1)]
  const view = of(log)
  await view.begin()
  view.hear([event(3)], false)
  log.push(event(2), event(3))
  await vi.advanceTimersByTimeAsync(3000)
  expect(shown(view)).toEqual([1, 2, 3])
  view.stop()
})

test('where events were missed, it is read anew', async () => {
  const log = [event(1)]
  const view = of(log)
  await view.begin()
  log.push(event(2), event(3), event(4), event(5))
  view.hear([], true)
  await vi.advanceTimersByTimeAsync(0)
  expect([shown(view), view.complete]).toEqual([[3, 4, 5], false])
  view.stop()
})

test('however many come, so many are kept; one who is further back loses none', async () => {
  const view = of([])
  await view.begin()
  const some = (from: number, number: number) => Array.from({ length: number }, (_, n) => event(from + n))
  view.hear(some(1, 5_500), false)
  view.follows = false
  view.hear(some(5_501, 12_500), false)
  expect(view.count).toBe(18_000)
  view.follows = true
  view.hear(some(18_001, 1), false)
  expect([view.count, view.lines.at(-1)?.key, view.complete]).toEqual([5_000, 18_001, false])
  view.pause(true)
  view.hear(some(18_002, 30_000), false)
  expect([view.count, view.held]).toEqual([5_000, 30_000])
  view.stop()
})

test('what cannot be read says why, and is read when one tries again', async () => {
  let down = true
  const view = new LogWindow(
    ALL,
    () => (down ? Promise.reject(new Error('down')) : Promise.resolve({ events: [event(1)], more: false })),
    () => [],
  )
  await view.begin()
  view.hear([event(2)], false)
  expect([view.problem?.message, shown(view)]).toEqual(['Error: down', [2]])
  down = false
  await view.retry()
  expect([view.problem, shown(view)]).toEqual([null, [1, 2]])
  view.stop()
})
