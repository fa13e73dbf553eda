// Which VMs are meant by what somebody pasted, and which priority moves a member up or down.
import { listed } from '../../forms/pairs'

interface Vm {
  context_id: string
  vm_name: string
}

interface Member {
  context_id: string
  priority?: number
}

export interface Resolved {
  ids: string[]
  /** What no VM is called. */
  unknown: string[]
  /** What several VMs are called: their ids have to be given. */
  several: string[]
}

/** Return which VMs are named, by id or by name in any case, on lines or with commas. */
export function resolved(text: string, vms: readonly Vm[]): Resolved {
  const known = new Set(vms.map((one) => one.context_id))
  const named = new Map<string, string[]>()
  for (const { context_id, vm_name } of vms) {
    const name = vm_name.toLowerCase()
    named.set(name, [...(named.get(name) ?? []), context_id])
  }
  const result: Resolved = { ids: [], unknown: [], several: [] }
  for (const one of listed(text)) {
    const ids = known.has(one) ? [one] : (named.get(one.toLowerCase()) ?? [])
    if (ids.length > 1) result.several.push(one)
    else if (ids[0] === undefined) result.unknown.push(one)
    else if (!result.ids.includes(ids[0])) result.ids.push(ids[0])
  }
  return result
}

const HIGHEST = 1000

/** Return the order in which members are backed up: the highest priority first. */
export function inOrder<T extends Member>(members: readonly T[]): T[] {
  return [...members].sort((a, b) => (b.priority ?? 0) - (a.priority ?? 0))
}

/** Return the priority that moves a member before the one above it, or behind the one below it; null when none can. */
export function moved(members: readonly Member[], id: string, up: boolean): number | null {
  const order = inOrder(members)
  const at = order.findIndex((one) => one.context_id === id)
  const next = order[up ? at - 1 : at + 1]
  if (at < 0 || next === undefined) return null
  const priority = (next.priority ?? 0) + (up ? 1 : -1)
  return Math.abs(priority) > HIGHEST ? null : priority
}
