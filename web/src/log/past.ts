// Events that the engine gives from the past, as the live stream gives those that come.
import { client, Problem, unwrap, type Schemas } from '../api/client'
import { parse, type LogEvent } from '../live/events'
import type { LogFilter } from './filter'

/** Before this is everything. */
export const NEWEST = Number.MAX_SAFE_INTEGER
const PAGE = 200
const TOO_MUCH = 422

export interface Past {
  /** In the log's order. */
  events: LogEvent[]
  /** Whether there are others before them. */
  more: boolean
}

/** Read the last events before a sequence that a filter takes. Throws `Problem`. */
export async function readPast(wanted: LogFilter, before: number, limit = PAGE): Promise<Past> {
  const { pattern, ...rest } = wanted
  const given = Object.entries({ ...rest, pattern: pattern === '>' ? '' : pattern })
  const query = { ...Object.fromEntries(given.filter(([, value]) => value !== '')), before, limit }
  try {
    const page = await unwrap(client.GET('/api/v1/events/log', { params: { query } }))
    return { events: parsed(page.events).reverse(), more: page.total > page.events.length }
  } catch (error) {
    // plans of large executions, many of them beside each other
    if (error instanceof Problem && error.status === TOO_MUCH && error.errors.length === 0 && limit > 1)
      return readPast(wanted, before, Math.ceil(limit / 5))
    throw error
  }
}

/** Return logged events as they come live; what is no event is left out. */
export function parsed(events: readonly Schemas['LoggedEvent'][]): LogEvent[] {
  return events
    .map(({ sequence, event }) => parse(String(sequence), JSON.stringify(event)))
    .filter((one) => typeof one?.type === 'string' && typeof one.data === 'object')
    .filter((one) => one !== null)
}
