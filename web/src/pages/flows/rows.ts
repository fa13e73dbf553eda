// The rows of the table of flows: flows alone, or below the label that they share, rolled up.
import type { Grouping } from '../../components/order'
import { NAMES, rank, STATES, type Flow, type FlowState } from './state'

export interface FlowRow {
  kind: 'flow'
  flow: Flow
  state: FlowState
  /** The value of the label that it stands below; null: it has none. */
  group: string | null
}

export interface GroupRow {
  kind: 'group'
  group: string | null
  ids: string[]
  /** How many flows are in each state; those that none is in are left out. */
  counts: Partial<Record<FlowState, number>>
  worst: FlowState
  open: boolean
}

export type Row = FlowRow | GroupRow

export function key(row: Row): string {
  return row.kind === 'flow' ? row.flow.id : groupKey(row.group)
}

export function groupKey(group: string | null): string {
  return group === null ? 'group' : `group:${group}`
}

/** What is chosen with a row. */
export function chooses(row: Row): readonly string[] {
  return row.kind === 'flow' ? [row.flow.id] : row.ids
}

export const GROUPING: Grouping<Row> = {
  of: (row) => groupKey(row.group),
  head: (row) => row.kind === 'group',
}

/** Return a row for each flow. */
export function flat(flows: readonly Flow[], state: (flow: Flow) => FlowState): FlowRow[] {
  return flows.map((flow) => ({ kind: 'flow', flow, state: state(flow), group: null }))
}

/**
 * Return the flows below the values of a label, the worst group first; those without that label are the last group. Of
 * a group that is closed there is its head alone.
 */
export function rolledUp(
  flows: readonly Flow[],
  state: (flow: Flow) => FlowState,
  label: string,
  open: (group: string | null) => boolean,
): Row[] {
  const groups = new Map<string | null, FlowRow[]>()
  for (const row of flat(flows, state)) {
    const group = row.flow.labels[label] ?? null
    const some = groups.get(group) ?? []
    some.push({ ...row, group })
    groups.set(group, some)
  }
  const heads = [...groups].map(([group, rows]) => head(group, rows, open(group)))
  return heads.sort(order).flatMap((one) => (one.open ? [one, ...(groups.get(one.group) ?? [])] : [one]))
}

function head(group: string | null, rows: readonly FlowRow[], open: boolean): GroupRow {
  const counts: GroupRow['counts'] = {}
  for (const { state } of rows) counts[state] = (counts[state] ?? 0) + 1
  const worst = STATES.find((state) => counts[state] !== undefined) ?? 'disabled'
  return { kind: 'group', group, ids: rows.map((row) => row.flow.id), counts, worst, open }
}

function order(a: GroupRow, b: GroupRow): number {
  if (a.group === null || b.group === null) return a.group === null ? 1 : -1
  return rank(a.worst) - rank(b.worst) || a.group.localeCompare(b.group, 'en', { numeric: true })
}

/** `2 failed, 40 good`. */
export function summary(counts: GroupRow['counts']): string {
  return STATES.flatMap((state) =>
    counts[state] === undefined ? [] : [`${String(counts[state])} ${NAMES[state].text}`],
  ).join(', ')
}

/** All keys of labels, those that most flows have first. */
export function labelKeys(flows: readonly Flow[]): string[] {
  const found = new Map<string, number>()
  for (const flow of flows)
    for (const one of Object.keys(flow.labels)) found.set(one, (found.get(one) ?? 0) + 1)
  return [...found].sort(([a, n], [b, m]) => m - n || a.localeCompare(b)).map(([one]) => one)
}
