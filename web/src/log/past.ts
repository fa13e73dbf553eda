// Events that the engine gives from the past, as the live stream gives those that come.
import type { Schemas } from '../api/client'
import { parse, type LogEvent } from '../live/events'

/** Return logged events as they come live; what is no event is left out. */
export function parsed(events: readonly Schemas['LoggedEvent'][]): LogEvent[] {
  return events
    .map(({ sequence, event }) => parse(String(sequence), JSON.stringify(event)))
    .filter((one) => typeof one?.type === 'string' && typeof one.data === 'object')
    .filter((one) => one !== null)
}
