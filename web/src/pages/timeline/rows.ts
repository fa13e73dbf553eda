// The rows of the timeline: flows, or groups of them that are open or closed. Pure.
import { concurrency, type Step } from './lanes'
import { grouped, runs, type Flow, type Grouping, type Item } from './items'

export type Row =
  | { kind: 'flow'; key: string; flow: Flow; items: readonly Item[] }
  | { kind: 'group'; key: string; name: string; size: number; open: boolean; steps: readonly Step[] }

/** By flow. */
export type Items = ReadonlyMap<string, readonly Item[]>

/** Return how many run at once, over some flows. */
export function together(flows: readonly Flow[], items: Items, wanted = runs): Step[] {
  return concurrency(flows.flatMap((flow) => (items.get(flow.flow_id) ?? []).filter(wanted)))
}

export function rowsOf(
  flows: readonly Flow[],
  items: Items,
  by: Grouping,
  closed: ReadonlySet<string>,
): Row[] {
  const plain = (some: readonly Flow[]): Row[] =>
    some.map((flow) => ({ kind: 'flow', key: flow.flow_id, flow, items: items.get(flow.flow_id) ?? [] }))
  return (
    grouped(flows, by)?.flatMap(({ name, flows: some }) => {
      const open = !closed.has(name)
      const head: Row = {
        ...{ kind: 'group', key: `group ${name}`, name, size: some.length, open },
        steps: together(some, items),
      }
      return [head, ...(open ? plain(some) : [])]
    }) ?? plain(flows)
  )
}
