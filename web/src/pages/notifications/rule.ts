// The rule of a notification: as somebody writes it in a form, as the API takes it, and in words.
import type { Schemas } from '../../api/client'
import { plural } from '../../format/numbers'
import { ZONE } from '../../format/time'
import { written as pairs } from '../../forms/pairs'

export type Notification = Schemas['NotificationResponse']
export type Told = NonNullable<Notification['events']>[number]

/** Events that people can be told of, and what each is called. */
export const EVENTS: Record<Told, { name: string; short: string; hint: string }> = {
  'flow.completed': {
    name: 'An execution ended',
    short: 'executions that ended',
    hint: 'well or badly: see how bad, below',
  },
  'flow.skipped': {
    name: 'A flow did not run',
    short: 'flows that did not run',
    hint: 'it was skipped, and why',
  },
  'flow.missed': {
    name: 'An occurrence was missed',
    short: 'missed occurrences',
    hint: 'the engine was down for too long',
  },
  'flow.overdue': {
    name: 'A deadline has passed',
    short: 'missed deadlines',
    hint: 'it began or ended too late',
  },
  'backup.failed': { name: 'A VM failed', short: 'failed VMs', hint: 'each, after its last attempt' },
  'backup.orphaned': {
    name: 'Something is left over',
    short: 'what is left over of backups',
    hint: 'of a backup, and cannot be removed',
  },
  'flow.started': {
    name: 'An execution began',
    short: 'executions that began',
    hint: 'information: needs “everything” below',
  },
}
export const SEVERITIES = {
  info: 'Everything, also what went well',
  warning: 'Warnings and errors',
  error: 'Errors alone',
} as const
const USUAL: readonly Told[] = ['flow.completed', 'flow.skipped', 'flow.missed', 'flow.overdue']

export interface Written {
  name: string
  description: string
  enabled: boolean
  events: Told[]
  severity: keyof typeof SEVERITIES
  flows: string[]
  labels: Record<string, string>
  first_failure: boolean
  recovered: boolean
  when: 'now' | 'minutes' | 'at'
  digest_minutes: number | null
  digest_at: string
  timezone: string
  digest_empty: boolean
  receiver: Notification['receiver']
  url: string
  /** Where the notifier finds the secret: in a variable of its environment, or a file. */
  place: 'env' | 'file'
  secret: string
}

/** Return a notification as it is written; undefined: a new one. */
export function written(from: Notification | undefined): Written {
  return {
    name: from?.name ?? '',
    description: from?.description ?? '',
    enabled: from?.enabled ?? true,
    events: [...(from?.events ?? USUAL)],
    severity: from?.severity ?? 'warning',
    flows: [...(from?.flows ?? [])],
    labels: from?.labels ?? {},
    first_failure: from?.first_failure ?? false,
    recovered: from?.recovered ?? true,
    when: from?.digest_at != null ? 'at' : from?.digest_minutes != null ? 'minutes' : 'now',
    digest_minutes: from?.digest_minutes ?? 15,
    digest_at: from?.digest_at ?? '07:30',
    timezone: from?.timezone ?? ZONE,
    digest_empty: from?.digest_empty ?? false,
    receiver: from?.receiver ?? 'webhook',
    url: from?.url ?? '',
    place: from?.secret_file != null ? 'file' : 'env',
    secret: from?.secret_file ?? from?.secret_env ?? '',
  }
}

/** Return what is written as the API takes it: what does not belong to what was chosen is left out. */
export function body(value: Written): Schemas['NotificationRequest'] {
  const { when, digest_minutes, digest_at, digest_empty, url, place, secret, ...rest } = value
  const given = secret.trim() === '' ? null : secret.trim()
  return {
    ...rest,
    digest_minutes: when === 'minutes' ? digest_minutes : null,
    digest_at: when === 'at' ? digest_at : null,
    digest_empty: when === 'at' && digest_empty,
    url: value.receiver === 'webhook' && url.trim() !== '' ? url.trim() : null,
    secret_env: place === 'env' ? given : null,
    secret_file: place === 'file' ? given : null,
  }
}

type Rule = Pick<Notification, 'events' | 'severity' | 'labels' | 'first_failure' | 'recovered'>
type Digest = Pick<Notification, 'digest_minutes' | 'digest_at' | 'timezone'>

/** Return what somebody is told of, in a few words; `flows`: the names of those that it is about, none for any. */
export function tells(rule: Rule, flows: readonly string[]): string {
  const bad = { info: 'everything', warning: 'warnings and errors', error: 'errors' }[rule.severity]
  const labels = pairs(rule.labels)
  const whose = [
    flows.length === 0
      ? ''
      : flows.length <= 2
        ? ` of ${flows.join(' and ')}`
        : ` of ${plural(flows.length, 'flow')}`,
    labels === '' ? '' : ` with ${labels}`,
  ].join('')
  const events = rule.events ?? USUAL
  const few = events.map((one) => EVENTS[one].short).join(' and ')
  const what = events.length > 2 ? bad : events.includes('flow.completed') ? `${few} (${bad})` : few
  const more = [
    rule.first_failure ? 'of failures the first alone' : '',
    rule.recovered && rule.severity !== 'info' ? 'and recoveries' : '',
  ].filter((one) => one !== '')
  return [`${what}${whose}`, ...more].join(', ')
}

/** Return when somebody is told: `at once`, `daily at 07:30, Asia/Tokyo`. */
export function when({ digest_minutes, digest_at, timezone }: Digest): string {
  if (digest_at != null) return `daily at ${digest_at}${timezone === ZONE ? '' : `, ${timezone}`}`
  if (digest_minutes != null) return `${plural(digest_minutes, 'minute')} together`
  return 'at once'
}

/** Return where messages go: a host, or that only the secret says it. */
export function receiver(one: Pick<Notification, 'receiver' | 'url'>): string {
  if (one.receiver === 'apprise') return 'email or chat'
  try {
    return new URL(one.url ?? '').host
  } catch {
    return one.url ?? ''
  }
}
