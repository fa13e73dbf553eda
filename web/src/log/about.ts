// What an event is about: its flow, its execution, its VM; and where on the log it stands.
import type { LogEvent } from '../live/events'
import { list, text } from './reading'

/** Backups outside any flow are of this one, which is none. */
const AD_HOC = 'adhoc'

/** Return an event's kind: its type, but of what has its whole subject there, `rejected.flow.update`, the family alone. */
export function kindOf({ type }: LogEvent): string {
  return /^(rejected|dead)\.(?!settled$)/.exec(type)?.[1] ?? type
}

/** Return the flow that an event is of; '' when it is of none. */
export function flowOf(event: LogEvent): string {
  const found =
    text(event.data, 'flow_id') ||
    (/^(flow|catalog\.flow|command\.flow)(\.|$)/.test(event.type) ? event.subject : '')
  return found === AD_HOC ? '' : found
}

/** Return the execution that an event belongs to; '' when it belongs to none. */
export function executionOf(event: LogEvent): string {
  const found = text(event.data, 'execution_id')
  if (found !== '') return found
  if (event.type.startsWith('command.execution.')) return event.subject
  return event.type === 'flow.due' ? (event.correlationid ?? '') : ''
}

/** Return the VM that an event is about; '' when it is about none. */
export function vmOf(event: LogEvent): string {
  return (
    text(event.data, 'context_id') || (/^(catalog|command)\.vm(\.|$)/.test(event.type) ? event.subject : '')
  )
}

/** Tell whether a VM has a part in an event: it is about it, or plans it. */
export function hasVm(event: LogEvent, vm: string): boolean {
  return (
    vmOf(event) === vm ||
    event.subject === vm ||
    (event.type === 'flow.planned' &&
      list(event.data, 'backups').some((one) => text(one, 'context_id') === vm))
  )
}

const OF_ONE_VM =
  /^backup\.(abandoned|skipped|orphaned|started|progressed|retrying|completed|failed|cancelled)$/

/** Return the subject in NATS that an event stands on: `flow.completed.<flow>`, `backup.started.<flow>.<vm>`. */
export function subjectOf(event: LogEvent): string {
  const { data } = event
  const type = kindOf(event)
  if (type.startsWith('command.')) return type
  if (type === 'rejected') return `rejected.${text(data, 'entity')}.${text(data, 'verb')}`
  if (type === 'dead') return `dead.${text(data, 'service')}.${text(data, 'reason')}`
  if (type === 'backup.requested') {
    const pool = text(data, 'pool')
    return `${type}.${text(data, 'flow_id')}${pool === '' ? '' : `.${pool}`}`
  }
  if (OF_ONE_VM.test(type)) return `${type}.${text(data, 'flow_id')}.${text(data, 'context_id')}`
  return `${type}.${event.subject}`
}
