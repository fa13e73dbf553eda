// Which flows are shown: by what the address says.
import type { Flow, FlowState } from './state'

/** The names of filters in the address. */
export const FILTERS = ['q', 'state', 'type', 'repository', 'schedule', 'policy', 'enabled', 'label'] as const
export type Filter = Partial<Record<(typeof FILTERS)[number], string>>

/** Stands for flows without a schedule. */
export const NONE = 'none'

/** Tell whether a flow is wanted. `label`: `key=value`, or `key` alone. Words of `q` are all in its names. */
export function wanted(flow: Flow, state: FlowState, filter: Filter): boolean {
  if (filter.state !== undefined && filter.state !== state) return false
  if (filter.type !== undefined && filter.type !== flow.flow_type) return false
  if (filter.repository !== undefined && filter.repository !== flow.repository_id) return false
  if (filter.schedule !== undefined && filter.schedule !== (flow.schedule_id ?? NONE)) return false
  if (filter.policy !== undefined && filter.policy !== (flow.policy_id ?? NONE)) return false
  if (filter.enabled !== undefined && filter.enabled !== (flow.enabled ? 'yes' : 'no')) return false
  if (filter.label !== undefined && !labelled(flow, filter.label)) return false
  return filter.q === undefined || mentions(flow, filter.q)
}

function labelled({ labels }: Flow, text: string): boolean {
  const at = text.indexOf('=')
  if (at < 0) return text in labels
  return labels[text.slice(0, at)] === text.slice(at + 1)
}

function mentions(flow: Flow, q: string): boolean {
  const text = [flow.name, flow.target_name ?? '', flow.description, flow.id].join('\n').toLowerCase()
  return q
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word))
}

/** What can be chosen from: the ids and names of what flows refer to, by name. */
export function choices<T>(
  flows: readonly T[],
  of: (flow: T) => readonly [string | null, string | null],
): [string, string][] {
  const found = new Map<string, string>()
  for (const flow of flows) {
    const [id, name] = of(flow)
    if (id !== null) found.set(id, name ?? id)
  }
  return [...found].sort(([, a], [, b]) => a.localeCompare(b, 'en', { numeric: true }))
}

/** All labels that flows have, as `key=value`. */
export function labels(flows: readonly Pick<Flow, 'labels'>[]): string[] {
  const found = new Set<string>()
  for (const flow of flows)
    for (const [key, value] of Object.entries(flow.labels)) found.add(`${key}=${value}`)
  return [...found].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
}
