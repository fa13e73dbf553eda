// Events as plain sentences. What is not known here still shows: its type, and what it is about.
import type { LogEvent } from '../live/events'
import { bytes, count, plural } from '../format/numbers'
import { duration } from '../format/time'
import type { Tone } from '../components/Status.svelte'
import { flowOf, kindOf } from './about'
import { list, number, part, text, texts } from './reading'

/** What things are called; undefined: it is not known. */
export interface Names {
  flow: (id: string) => string | undefined
  vm: (id: string) => string | undefined
}

type Tell = (event: LogEvent, names: Names) => string

/** Return what an event says, in one sentence without a full stop. */
export function sentence(event: LogEvent, names: Names): string {
  const known = TOLD[kindOf(event)] ?? byFamily(event.type)
  return known?.(event, names) ?? `${event.type} about ${event.subject}`
}

/** Return which tone an event has, as a state has one. */
export function toneOfEvent(event: LogEvent): Tone {
  if (event.type === 'flow.completed') return ENDS[text(event.data, 'status')] ?? 'idle'
  return TONES[kindOf(event)] ?? 'idle'
}

const ENDS: Record<string, Tone> = { success: 'good', warning: 'warn', error: 'bad' }
const TONES: Record<string, Tone> = {
  'backup.completed': 'good',
  'notification.delivered': 'good',
  'backup.started': 'run',
  'backup.progressed': 'run',
  'flow.started': 'run',
  'backup.retrying': 'warn',
  'backup.skipped': 'warn',
  'backup.abandoned': 'warn',
  'backup.orphaned': 'warn',
  'flow.skipped': 'warn',
  'flow.missed': 'warn',
  'flow.overdue': 'warn',
  'notification.failed': 'warn',
  rejected: 'warn',
  'backup.failed': 'bad',
  'notification.dropped': 'bad',
  dead: 'bad',
}

function flow(event: LogEvent, names: Names): string {
  const id = flowOf(event)
  return id === '' ? 'a backup outside any flow' : (names.flow(id) ?? id)
}

function vm(event: LogEvent, names: Names): string {
  const id = text(event.data, 'context_id')
  return text(event.data, 'vm_name') || (names.vm(id) ?? id)
}

/** `2026-11-25 03:00 UTC`: of an occurrence, whose instant is its name. */
function instant(value: string): string {
  const at = new Date(value)
  return Number.isNaN(at.getTime())
    ? 'an unknown time'
    : `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

const SHOULD: Record<string, string> = {
  start: 'should have begun',
  finish: 'should have ended',
  stop: 'was told to stop, and no worker responded',
}

function overdue({ data }: LogEvent, who: string): string {
  return `${who} ${SHOULD[text(data, 'deadline')] ?? 'is overdue'} by ${instant(text(data, 'passed_at'))}`
}

function completed({ data }: LogEvent, who: string): string {
  const done = `${count(number(data, 'jobs_completed'))} of ${plural(number(data, 'jobs_created'), 'VM')} backed up`
  const seconds = (Date.parse(text(data, 'completed_at')) - Date.parse(text(data, 'started_at'))) / 1000
  const after = Number.isNaN(seconds) ? '' : ` after ${duration(Math.max(0, seconds))}`
  const why = text(data, 'error_message')
  const moved = bytes(number(data, 'bytes_transferred'))
  return `${who} ended as ${text(data, 'status')}${after}: ${done}, ${moved} written${why === '' ? '' : `; ${why}`}`
}

function started({ data }: LogEvent, who: string): string {
  const how =
    text(data, 'retry_of') !== ''
      ? 'as a retry'
      : text(data, 'backfill_id') !== ''
        ? `as a backfill of ${instant(text(data, 'occurrence'))}`
        : text(data, 'execution_type') === 'scheduled'
          ? 'by its schedule'
          : `by hand of ${text(data, 'triggered_by')}`
  return `${who} began ${how}, with ${plural(number(data, 'jobs'), 'VM')}`
}

function requested(event: LogEvent, names: Names): string {
  const round = number(event.data, 'round')
  const again = round > 1 ? `, for the ${ordinal(round)} time` : ''
  return `${vm(event, names)} may be backed up now, and waits for a worker${again}`
}

function ordinal(n: number): string {
  return n === 2 ? 'second' : n === 3 ? 'third' : `${String(n)}th`
}

const TOLD: Record<string, Tell> = {
  'flow.due': (e, n) => `${flow(e, n)} is due: its occurrence of ${instant(text(e.data, 'occurrence'))}`,
  'flow.missed': (e, n) =>
    `${flow(e, n)} missed ${plural(number(e.data, 'count'), 'occurrence')}, ` +
    `from ${instant(text(e.data, 'first'))} to ${instant(text(e.data, 'last'))}`,
  'flow.overdue': (e, n) =>
    overdue(e, text(e.data, 'context_id') === '' ? flow(e, n) : `${vm(e, n)} in ${flow(e, n)}`),
  'flow.buffered': (e, n) =>
    `${flow(e, n)} waits for ${plural(texts(e.data, 'waiting_for').length, 'execution')} before it`,
  'flow.started': (e, n) => started(e, text(e.data, 'flow_name') || flow(e, n)),
  'flow.planned': (e, n) => {
    const [all, out] = [list(e.data, 'backups').length, list(e.data, 'excluded').length]
    return `${flow(e, n)} plans ${plural(all, 'VM')}${out === 0 ? '' : `, and leaves out ${count(out)}`}`
  },
  'flow.skipped': (e, n) => `${flow(e, n)} did not run: ${text(e.data, 'message') || text(e.data, 'reason')}`,
  'flow.cancelling': (e, n) =>
    `${text(e.data, 'context_id') === '' ? flow(e, n) : vm(e, n)} is to stop: ${text(e.data, 'reason')}`,
  'flow.completed': (e, n) => completed(e, flow(e, n)),
  'flow.backfilling': (e, n) =>
    `${flow(e, n)} makes up for ${plural(texts(e.data, 'occurrences').length, 'past occurrence')}, ` +
    `${count(number(e.data, 'max_concurrent'))} at a time`,
  'flow.backfill_cancelled': (e, n) => `a backfill of ${flow(e, n)} is cancelled: ${text(e.data, 'reason')}`,
  'backup.requested': requested,
  'backup.abandoned': (e, n) => `no worker holds the backup of ${vm(e, n)} any more: it is requested again`,
  'backup.skipped': (e, n) => `${vm(e, n)} is skipped: ${text(e.data, 'reason')}`,
  'backup.orphaned': (e, n) =>
    `what is left of the backup of ${vm(e, n)} cannot be removed: ${text(e.data, 'error')}`,
  'backup.started': (e, n) =>
    `${vm(e, n)}: attempt ${count(number(e.data, 'attempt'))} began on worker ${text(e.data, 'worker')}`,
  'backup.progressed': (e, n) =>
    `${vm(e, n)}: ${count(number(e.data, 'percent'))} %, ${bytes(number(e.data, 'bytes_transferred'))} written`,
  'backup.retrying': (e, n) =>
    `${vm(e, n)}: attempt ${count(number(e.data, 'attempt'))} failed, the next follows in ` +
    `${duration(number(e.data, 'delay_seconds'))}: ${text(e.data, 'error')}`,
  'backup.completed': (e, n) =>
    `${vm(e, n)} is backed up: ${bytes(number(e.data, 'bytes_read'))} read, ` +
    `${bytes(number(e.data, 'bytes_transferred'))} written`,
  'backup.failed': (e, n) => `${vm(e, n)} failed: ${text(e.data, 'error')}`,
  'backup.cancelled': (e, n) => `${vm(e, n)} is cancelled: ${text(e.data, 'reason')}`,
  rejected: (e) =>
    `${text(e.data, 'verb').replaceAll('_', ' ')} ${text(e.data, 'entity')} was rejected: ${text(e.data, 'reason')}`,
  'notification.due': (e) => `a message is to be sent: ${text(e.data, 'title')}`,
  'notification.claimed': (e) => `${text(e.data, 'holder')} delivers messages from here on`,
  'notification.delivered': (e) => `a message was delivered: ${text(e.data, 'reply')}`,
  'notification.failed': (e) => `a message could not be delivered yet: ${text(e.data, 'reason')}`,
  'notification.dropped': (e) => `a message will not be delivered: ${text(e.data, 'reason')}`,
  dead: (e) => `message ${String(number(e.data, 'sequence'))} could not be used: ${text(e.data, 'error')}`,
  'dead.settled': (e) => `message ${String(number(e.data, 'sequence'))} was ${text(e.data, 'how')}`,
  'catalog.freeze': ({ data }) => {
    const freeze = part(data, 'definition')
    return freeze === null
      ? 'the freeze is lifted'
      : `nothing starts by schedule until ${instant(text(freeze, 'until'))}: ${text(freeze, 'reason')}`
  },
  'catalog.settings': (e) => `the settings of the engine changed${by(e)}`,
  'catalog.token': (e) => {
    const token = part(e.data, 'definition') ?? {}
    const what = text(token, 'revoked_at') === '' ? 'was created' : 'was revoked'
    return `token ${text(token, 'name') || e.subject} ${what}${by(e)}`
  },
}

function by(event: LogEvent): string {
  return event.actor === undefined ? '' : ` by ${event.actor}`
}

/** `flow 'nightly' changed by anna`, `anna asked to update flow`. */
function byFamily(type: string): Tell | undefined {
  const [family, kind = '', verb = ''] = type.split('.')
  if (family === 'catalog') return (event, names) => defined(event, kind, names)
  if (family === 'command')
    return (event, names) => {
      const who = event.actor ?? 'somebody'
      const spec = part(event.data, 'spec') ?? {}
      const what =
        text(spec, 'name') || text(spec, 'vm_name') || (kind === 'flow' ? flow(event, names) : event.subject)
      return `${who} asked to ${verb.replaceAll('_', ' ')} ${kind} ${what}`
    }
  return undefined
}

function defined(event: LogEvent, kind: string, names: Names): string {
  const definition = part(event.data, 'definition')
  if (definition === null)
    return `${kind} ${kind === 'flow' ? flow(event, names) : event.subject} was deleted${by(event)}`
  const name = text(definition, 'name') || text(definition, 'vm_name') || event.subject
  const version = number(event.data, 'version')
  return `${kind} ${name} ${version <= 1 ? 'was created' : `changed (version ${String(version)})`}${by(event)}`
}
