// What a freeze holds back, flow by flow.
import type { Schemas } from '../../api/client'

type Entry = Pick<
  Schemas['CalendarEntry'],
  'flow_id' | 'flow_name' | 'outcome' | 'occurrence' | 'count' | 'reason'
>

export interface Held {
  flow_id: string
  flow_name: string
  /** Starts that do not take place. */
  starts: number
  /** The first of them. */
  first: string
}

/** What the scheduler says of an occurrence that a freeze has held back. */
const HELD = /^no scheduled start until /

/** Tell whether a freeze holds, or has held, an occurrence back. */
export function isHeld(one: Entry): boolean {
  return one.outcome === 'frozen' || (one.outcome === 'skipped' && HELD.test(one.reason ?? ''))
}

/** Return how many starts of each flow are among some entries, the flow that would begin first before the others. */
export function byFlow(entries: readonly Entry[], among: (one: Entry) => boolean): Held[] {
  const found = new Map<string, Held>()
  for (const one of entries.filter(among)) {
    const { flow_id, flow_name, occurrence, count } = one
    const held = found.get(flow_id)
    if (held === undefined) found.set(flow_id, { flow_id, flow_name, starts: count, first: occurrence })
    else {
      held.starts += count
      if (occurrence < held.first) held.first = occurrence
    }
  }
  return [...found.values()].sort((one, other) => one.first.localeCompare(other.first))
}
