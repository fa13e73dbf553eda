import { expect, test } from 'vitest'

import { body, receiver, tells, when, written, type Notification } from './rule'

const MADE: Notification = {
  ...{ id: 'n1', version: 3, created_at: '2026-11-25T03:00:00Z', updated_at: '2026-11-25T03:00:00Z' },
  ...{ created_by: 'anna', name: 'ops', description: '', enabled: true },
  ...{
    events: ['flow.completed', 'flow.missed'],
    severity: 'warning',
    flows: ['f1'],
    flow_names: ['nightly'],
  },
  ...{ labels: { site: 'a' }, first_failure: true, recovered: true },
  ...{ digest_minutes: null, digest_at: '07:30', timezone: 'Asia/Tokyo', digest_empty: true },
  ...{
    receiver: 'webhook',
    url: 'https://alerts.example.com/hook',
    secret_env: null,
    secret_file: '/run/key',
  },
  ...{ waiting: 0, retrying_since: null, last_error: null },
}

test('what is written of a notification, unchanged, is the same notification', () => {
  const {
    id,
    version,
    created_at,
    updated_at,
    created_by,
    flow_names,
    waiting,
    retrying_since,
    last_error,
    ...rest
  } = MADE
  void [id, version, created_at, updated_at, created_by, flow_names, waiting, retrying_since, last_error]
  expect(body(written(MADE))).toEqual(rest)
})

test('what does not belong to what was chosen is left out', () => {
  const value = written(MADE)
  expect(body({ ...value, when: 'now' })).toMatchObject({
    ...{ digest_at: null, digest_minutes: null, digest_empty: false },
  })
  expect(body({ ...value, when: 'minutes', digest_minutes: 5 })).toMatchObject({
    ...{ digest_at: null, digest_minutes: 5, digest_empty: false },
  })
  expect(body({ ...value, receiver: 'apprise', place: 'env', secret: ' MAIL ' })).toMatchObject({
    ...{ url: null, secret_env: 'MAIL', secret_file: null },
  })
  expect(body(written(undefined))).toMatchObject({ url: null, secret_env: null, secret_file: null })
})

test.each<[Partial<Notification>, string[], string]>([
  [
    {},
    ['nightly'],
    'executions that ended and missed occurrences (warnings and errors) of nightly with site=a, of failures the first alone, and recoveries',
  ],
  [
    { labels: {}, severity: 'info', first_failure: false },
    [],
    'executions that ended and missed occurrences (everything)',
  ],
  [
    {
      labels: {},
      severity: 'error',
      events: [...(MADE.events ?? []), 'flow.overdue'],
      first_failure: false,
      recovered: false,
    },
    ['a', 'b', 'c'],
    'errors of 3 flows',
  ],
  [{ labels: {}, events: ['backup.failed'], first_failure: false, recovered: false }, [], 'failed VMs'],
])('what it tells, in words: %#', (more, flows, said) => {
  expect(tells({ ...MADE, ...more }, flows)).toBe(said)
})

test('when it tells, and whom', () => {
  expect([
    when(MADE),
    when({ ...MADE, digest_at: null, digest_minutes: 15 }),
    when({ ...MADE, digest_at: null }),
  ]).toEqual(['daily at 07:30, Asia/Tokyo', '15 minutes together', 'at once'])
  expect([receiver(MADE), receiver({ receiver: 'apprise', url: null })]).toEqual([
    ...['alerts.example.com', 'email or chat'],
  ])
})
