import { expect, test } from 'vitest'

import type { LogEvent } from '../live/events'
import { subjectOf } from './about'
import { begins, takes, wrongPattern, type LogFilter } from './filter'
import { fold, shift } from './fold'
import { sentence, toneOfEvent } from './sentences'

const NAMES = {
  flow: (id: string) => (id === 'f1' ? 'nightly' : undefined),
  vm: (id: string) => (id === 'vm-1' ? 'db01' : undefined),
}
let sequence = 0

function event(type: string, data: Record<string, unknown> = {}, more: Partial<LogEvent> = {}): LogEvent {
  sequence += 1
  return { sequence, type, subject: 'f1', time: '2026-11-25T03:00:00Z', data, ...more }
}

const OF = { flow_id: 'f1', execution_id: 'x1', backup_id: 'b1', context_id: 'vm-1' }

test.each<[LogEvent, string]>([
  [
    event('flow.due', { flow_id: 'f1', occurrence: '2026-11-25T03:00:00Z' }),
    'nightly is due: its occurrence of 2026-11-25 03:00 UTC',
  ],
  [
    event('flow.started', { ...OF, flow_name: 'nightly', execution_type: 'scheduled', jobs: 3 }),
    'nightly began by its schedule, with 3 VMs',
  ],
  [
    event('flow.started', { ...OF, flow_name: 'nightly', execution_type: 'manual', retry_of: 'x0', jobs: 1 }),
    'nightly began as a retry, with 1 VM',
  ],
  [
    event('flow.completed', {
      ...OF,
      status: 'warning',
      started_at: '2026-11-25T03:00:00Z',
      completed_at: '2026-11-25T03:02:05Z',
      jobs_created: 3,
      jobs_completed: 2,
      bytes_transferred: 1_500_000,
      error_message: '1 VM failed',
    }),
    'nightly ended as warning after 2 min 5 s: 2 of 3 VMs backed up, 1.5 MB written; 1 VM failed',
  ],
  [event('backup.started', { ...OF, attempt: 2, worker: 'w1' }), 'db01: attempt 2 began on worker w1'],
  [
    event('backup.retrying', { ...OF, attempt: 1, delay_seconds: 30, error: 'no space' }),
    'db01: attempt 1 failed, the next follows in 30 s: no space',
  ],
  [
    event('backup.requested', { ...OF, context_id: 'vm-9', vm_name: 'web', round: 2 }),
    'web may be backed up now, and waits for a worker, for the second time',
  ],
  [
    event('rejected', { entity: 'flow', verb: 'update', reason: 'it is gone' }),
    'update flow was rejected: it is gone',
  ],
  [
    event('catalog.flow', { version: 2, definition: { name: 'nightly' } }, { actor: 'anna' }),
    'flow nightly changed (version 2) by anna',
  ],
  [event('catalog.vm', { version: 3, definition: null }, { subject: 'vm-1' }), 'vm vm-1 was deleted'],
  [event('command.flow.execute', { id: 'f1' }, { actor: 'anna' }), 'anna asked to execute flow nightly'],
  [event('command.vm.create', { id: 'vm-2', spec: { vm_name: 'web' } }), 'somebody asked to create vm web'],
  [event('backup.failed', { ...OF, flow_id: 'adhoc', error: 'cut off' }), 'db01 failed: cut off'],
])('an event is a sentence with names: %#', (one, said) => {
  expect(sentence(one, NAMES)).toBe(said)
})

test('a type that nobody knows still shows, and one without its fields breaks nothing', () => {
  expect(sentence(event('storage.full', {}, { subject: 'r1' }), NAMES)).toBe('storage.full about r1')
  for (const type of ['flow.completed', 'flow.overdue', 'catalog.freeze', 'backup.progressed', 'dead'])
    expect(sentence(event(type), NAMES)).not.toBe('')
  expect(toneOfEvent(event('storage.full'))).toBe('idle')
  expect(toneOfEvent(event('flow.completed', { status: 'error' }))).toBe('bad')
})

test('what was rejected, or could not be used, is told as the engine sends it', () => {
  const rejected = event('rejected.flow.update', { entity: 'flow', verb: 'update', reason: 'it is gone' })
  expect([sentence(rejected, NAMES), toneOfEvent(rejected), subjectOf(rejected)]).toEqual([
    'update flow was rejected: it is gone',
    'warn',
    'rejected.flow.update',
  ])
  const dead = event('dead.recorder.unusable', {
    ...{ service: 'recorder', reason: 'unusable', sequence: 7, error: 'no flow' },
  })
  expect([sentence(dead, NAMES), toneOfEvent(dead), subjectOf(dead)]).toEqual([
    'message 7 could not be used: no flow',
    'bad',
    'dead.recorder.unusable',
  ])
  expect(sentence(event('dead.settled', { sequence: 7, how: 'dismissed' }), NAMES)).toBe(
    'message 7 was dismissed',
  )
})

test.each([
  [event('flow.completed', OF), 'flow.completed.f1'],
  [event('backup.started', OF), 'backup.started.f1.vm-1'],
  [event('backup.requested', { ...OF, pool: null }), 'backup.requested.f1'],
  [event('backup.requested', { ...OF, pool: 'p' }), 'backup.requested.f1.p'],
  [event('rejected', { entity: 'flow', verb: 'create' }), 'rejected.flow.create'],
  [event('command.flow.create'), 'command.flow.create'],
])('an event has its subject: %#', (one, subject) => {
  expect(subjectOf(one)).toBe(subject)
})

test.each([
  ['>', 'flow.due.f1', true],
  ['flow', 'flow.due.f1', true],
  ['flow.*', 'backup.started.f1.v', false],
  ['backup.*', 'backup.started.f1.v', true],
  ['flow.due', 'flow.due.f1', true],
  ['flow.due', 'flow.started.f1', false],
  ['*.*.f1', 'flow.due.f1', true],
  ['flow.due.f1.>', 'flow.due.f1', false],
])('%s takes %s: %s', (pattern, subject, taken) => {
  expect(begins(pattern, subject)).toBe(taken)
})

test('a pattern that the engine would refuse is said to be wrong', () => {
  expect(wrongPattern('backup.*')).toBeUndefined()
  expect(wrongPattern('back up')).toContain('backup.*')
})

test('an event is taken by flow (id or name), execution, VM and time', () => {
  const all: LogFilter = { pattern: '', flow: '', execution: '', vm: '', from: '', to: '' }
  const called = (name: string) => (name === 'nightly' ? ['f1'] : [])
  const one = event('backup.started', OF)
  const taken = (wanted: Partial<LogFilter>) => takes({ ...all, ...wanted }, one, called)
  expect([{}, { flow: 'f1' }, { flow: 'nightly' }, { execution: 'x1' }, { vm: 'vm-1' }].map(taken)).toEqual(
    Array(5).fill(true),
  )
  expect([{ flow: 'f2' }, { execution: 'x2' }, { vm: 'vm-2' }].map(taken)).toEqual(Array(3).fill(false))
  expect(taken({ from: '2026-11-25T03:00:00Z', to: '2026-11-25T03:00:01Z' })).toBe(true)
  expect(taken({ to: '2026-11-25T03:00:00Z' })).toBe(false)
  const plan = event('flow.planned', { ...OF, context_id: undefined, backups: [{ context_id: 'vm-7' }] })
  expect(takes({ ...all, vm: 'vm-7' }, plan, called)).toBe(true)
})

test('progress of an execution is one line, wherever it stands among the last few', () => {
  const events = [
    event('backup.started', OF),
    event('backup.progressed', { ...OF, percent: 1 }),
    event('backup.failed', OF),
    event('backup.progressed', { ...OF, percent: 2 }),
    event('backup.progressed', { ...OF, execution_id: 'x2', percent: 1 }),
  ]
  const lines = fold([], events)
  expect(lines.map((line) => [line.first.type, line.count])).toEqual([
    ['backup.started', 1],
    ['backup.progressed', 2],
    ['backup.failed', 1],
    ['backup.progressed', 1],
  ])
  expect(lines[1]?.last.data.percent).toBe(2)
})

test('what many have at once is one line only while nothing comes between, and failures are never folded', () => {
  const events = ['requested', 'requested', 'started', 'requested', 'failed', 'failed'].map((type) =>
    event(`backup.${type}`, OF),
  )
  expect(fold([], events).map((line) => line.count)).toEqual([2, 1, 1, 1, 1])
  expect(fold([], events, false)).toHaveLength(6)
})

test('folding goes on from what is there, and leaves other lines as they are', () => {
  const before = fold([], [event('backup.failed', OF), event('backup.progressed', OF)])
  const after = fold(before, [event('backup.progressed', OF)])
  expect(after).toHaveLength(2)
  expect(after[0]).toBe(before[0])
  expect(before[1]?.count).toBe(1)
  expect(after[1]?.count).toBe(2)
})

test('how far what one reads has moved: down by older lines, up by those that are let go', () => {
  const events = Array.from({ length: 6 }, () => event('backup.failed', OF))
  const [all, few] = [fold([], events), fold([], events.slice(2))]
  expect([shift([], all), shift(few, all), shift(all, few), shift(all, all)]).toEqual([0, 2, -2, 0])
  expect(shift(few, [])).toBe(0)
})

test('an import is two lines: what was asked, and what became of it', () => {
  const types = [
    'command.vm.create',
    'catalog.vm',
    'command.vm.create',
    'catalog.vm',
    'flow.due',
    'catalog.vm',
  ]
  const lines = fold(
    [],
    types.map((type) => event(type)),
  )
  expect(lines.map((line) => [line.first.type, line.count])).toEqual([
    ['command.vm.create', 2],
    ['catalog.vm', 2],
    ['flow.due', 1],
    ['catalog.vm', 1],
  ])
})
