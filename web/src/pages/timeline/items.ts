// What a flow's row of the timeline shows: what ran, what runs and how long it will, and what is to come. Pure.
import type { Schemas } from '../../api/client'
import { duration, short } from '../../format/time'
import { KINDS } from '../executions/listed'
import type { Range } from './scale'

export type Flow = Schemas['FlowTimeline']
type Bar = Schemas['Bar']
type Coming = Schemas['Coming']
export type State = Bar['status'] | 'expected' | 'frozen' | 'excluded'

export interface Item extends Range {
  id: string
  flow: Flow
  kind: Bar['kind']
  state: State
  /** Where more is said of it. */
  href: string
  /** Of one that runs: when it is expected to end. */
  until: number | null
  reason: string | null
  bytes: number | null
}

const UNKNOWN = 60_000 // milliseconds that are drawn of what nobody knows the length of
const WILL: ReadonlySet<State> = new Set(['expected', 'frozen', 'excluded'])

/** Tell whether it is still to come. */
export function coming(one: Item): boolean {
  return WILL.has(one.state)
}

/** Tell whether it takes time: it ran, runs, or will. */
export function runs(one: Item): boolean {
  return one.state !== 'frozen' && one.state !== 'excluded' && one.state !== 'pending'
}

/** Return what is in a flow's row, as of an instant. */
export function itemsOf(flow: Flow, now: number): Item[] {
  const expected = flow.coming.find((one) => one.expected_seconds !== null)?.expected_seconds ?? null
  return [
    ...flow.bars.map((bar) => ran(flow, bar, now, expected)),
    ...flow.coming.map((one) => willRun(flow, one)),
  ]
}

function ran(flow: Flow, bar: Bar, now: number, expected: number | null): Item {
  const from = Date.parse(bar.started_at ?? bar.created_at)
  const open = bar.completed_at === null
  return {
    id: bar.execution_id,
    flow,
    kind: bar.kind,
    state: bar.status,
    href: `/executions/${encodeURIComponent(bar.execution_id)}`,
    from,
    to: Math.max(from, bar.completed_at === null ? now : Date.parse(bar.completed_at)),
    until: open && bar.started_at !== null && expected !== null ? from + expected * 1000 : null,
    reason: null,
    bytes: bar.bytes,
  }
}

function willRun(flow: Flow, one: Coming): Item {
  const from = Date.parse(one.at)
  const state = one.outcome === 'frozen' || one.outcome === 'excluded' ? one.outcome : 'expected'
  const long = one.expected_seconds === null ? UNKNOWN : one.expected_seconds * 1000
  return {
    id: `${flow.flow_id} ${one.occurrence}`,
    flow,
    kind: 'scheduled',
    state,
    href: `/flows/${encodeURIComponent(flow.flow_id)}`,
    from,
    to: from + (state === 'expected' ? long : UNKNOWN),
    until: one.expected_seconds === null ? null : from + one.expected_seconds * 1000,
    reason: one.reason,
    bytes: null,
  }
}

/** Return when it ended; now while it has not. */
export function end(one: Item, now: number): number {
  return one.state === 'running' || one.state === 'pending' ? Math.max(one.from, now) : one.to
}

const LASTS: Partial<Record<State, string>> = { running: 'for', pending: 'waits for' }

/** Say what it is in words. */
export function told(one: Item, now: Date): string {
  const at = short(new Date(one.from), now)
  const parts = [
    one.flow.flow_name,
    KINDS[one.kind].text,
    `${one.state} ${coming(one) ? 'at' : 'from'} ${at}`,
  ]
  if (!coming(one))
    parts.push(`${LASTS[one.state] ?? 'took'} ${duration((end(one, now.getTime()) - one.from) / 1000)}`)
  if (one.until !== null && runs(one)) parts.push(`${duration((one.until - one.from) / 1000)} expected`)
  if (one.reason !== null) parts.push(one.reason)
  return parts.join(', ')
}

/** How a timeline is grouped: not at all, by repository, or by a key of labels. */
export type Grouping = { by: 'nothing' } | { by: 'repository' } | { by: 'label'; key: string }

/** Read it as it stands in the address. */
export function grouping(text: string | null): Grouping {
  if (text === 'repository') return { by: 'repository' }
  if (text?.startsWith('label:') === true) return { by: 'label', key: text.slice('label:'.length) }
  return { by: 'nothing' }
}

export interface Group {
  name: string
  flows: Flow[]
}

/** Return flows in groups by name; those without what they are grouped by come last. Null: they are not grouped. */
export function grouped(flows: readonly Flow[], by: Grouping): Group[] | null {
  if (by.by === 'nothing') return null
  const found = new Map<string | null, Flow[]>()
  for (const flow of flows) {
    const name = by.by === 'repository' ? flow.repository_name : (flow.labels[by.key] ?? null)
    const some = found.get(name)
    if (some === undefined) found.set(name, [flow])
    else some.push(flow)
  }
  const none = by.by === 'repository' ? 'without repository' : `without ${by.key}`
  return [...found]
    .sort(([a], [b]) => (a === null ? 1 : b === null ? -1 : a.localeCompare(b, 'en', { numeric: true })))
    .map(([name, some]) => ({ name: name ?? none, flows: some }))
}

/** Return the keys of the labels that flows have. */
export function labelKeys(flows: readonly Flow[]): string[] {
  return [...new Set(flows.flatMap((flow) => Object.keys(flow.labels)))].sort()
}
