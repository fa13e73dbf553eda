// Which events of the log are wanted: what `flows log` takes too.
import type { LogEvent } from '../live/events'
import { executionOf, flowOf, hasVm, subjectOf } from './about'

export interface LogFilter {
  /** A subject pattern of NATS; '' or `>`: everything. */
  pattern: string
  /** A flow, by name or id; '' is any. */
  flow: string
  execution: string
  vm: string
  /** Instants, RFC 3339; '' is no bound. */
  from: string
  to: string
}

/** Tell whether an event is wanted; `called`: the ids of flows with a name. */
export function takes(wanted: LogFilter, event: LogEvent, called: (name: string) => string[]): boolean {
  if (wanted.pattern !== '' && wanted.pattern !== '>' && !begins(wanted.pattern, subjectOf(event))) return false
  if (wanted.flow !== '') {
    const flow = flowOf(event)
    if (flow !== wanted.flow && event.subject !== wanted.flow && !called(wanted.flow).includes(flow)) return false
  }
  const execution = wanted.execution
  if (execution !== '' && execution !== executionOf(event) && execution !== event.correlationid) return false
  if (wanted.vm !== '' && !hasVm(event, wanted.vm)) return false
  if (wanted.from !== '' && Date.parse(event.time) < Date.parse(wanted.from)) return false
  return wanted.to === '' || Date.parse(event.time) < Date.parse(wanted.to)
}

/** Tell whether a subject, or its beginning, matches a pattern: `flow` and `flow.*` mean all of their messages. */
export function begins(pattern: string, subject: string): boolean {
  const tokens = subject.split('.')
  const wanted = pattern.split('.')
  for (const [n, token] of wanted.entries()) {
    if (token === '>') return n < tokens.length
    if (tokens[n] === undefined || (token !== '*' && token !== tokens[n])) return false
  }
  return true
}

const PATTERN = /^[A-Za-z0-9_*>-]+(\.[A-Za-z0-9_*>-]+){0,3}$/

/** Return what is wrong with a pattern, undefined when nothing is. */
export function wrongPattern(pattern: string): string | undefined {
  if (pattern === '' || PATTERN.test(pattern)) return undefined
  return 'up to four words with dots between them; * stands for one of them, > for the rest: flow.completed, backup.*'
}
