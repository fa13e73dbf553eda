// Which VMs are shown, and what can be chosen to find them. Pure.
import { STATES, type State } from '../../components/matrix/days'
import { by, type Compare } from '../../components/order'
import type { Schemas } from '../../api/client'

export type Vm = Schemas['CoveredVm']

export interface Wanted {
  state: State | null
  text: string
  /** `key=value` of a label. */
  label: string
  /** The id of a group. */
  group: string
}

/** Return what the address asks for, as far as it is a state. */
export function stateOf(text: string | null): State | null {
  return STATES.find((one) => one === text) ?? null
}

/** Return the VMs that are wanted. A part of the name, id, a tag, a label, a group's or a flow's name is enough. */
export function matching(vms: readonly Vm[], wanted: Wanted): Vm[] {
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean)
  return vms.filter(
    (vm) =>
      (wanted.state === null || vm.state === wanted.state) &&
      (wanted.group === '' || vm.groups.some((group) => group.group_id === wanted.group)) &&
      (wanted.label === '' || labelsOf(vm).includes(wanted.label)) &&
      words.every((word) => textOf(vm).includes(word)),
  )
}

export function labelsOf(vm: Pick<Vm, 'labels'>): string[] {
  return Object.entries(vm.labels).map(([key, value]) => `${key}=${value}`)
}

function textOf(vm: Vm): string {
  const names = [...vm.groups.map((one) => one.group_name), ...vm.flows.map((one) => one.name)]
  return [vm.vm_name, vm.context_id, ...vm.tags, ...labelsOf(vm), ...names].join(' ').toLowerCase()
}

/** Return how many VMs are in each state. */
export function countsOf(vms: readonly Vm[]): Record<State, number> {
  const counts = { failing: 0, stale: 0, unprotected: 0, pending: 0, protected: 0, excluded: 0 }
  for (const vm of vms) counts[vm.state] += 1
  return counts
}

/** Return all labels of VMs, as `key=value`, by the alphabet. */
export function allLabels(vms: readonly Vm[]): string[] {
  return [...new Set(vms.flatMap(labelsOf))].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
}

/** Return the keys of labels, by the alphabet. */
export function allKeys(vms: readonly Pick<Vm, 'labels'>[]): string[] {
  return [...new Set(vms.flatMap((vm) => Object.keys(vm.labels)))].sort((a, b) => a.localeCompare(b, 'en'))
}

/** The worst first, and by name. */
export const byState: Compare<Vm> = (a, b) =>
  STATES.indexOf(a.state) - STATES.indexOf(b.state) || by<Vm>((vm) => vm.vm_name)(a, b)

export interface Rolled {
  /** The value of the label; empty: without it. */
  value: string
  vms: Vm[]
  counts: Record<State, number>
}

/** Return VMs by the value of a label, with how many of each are in which state; those without it last. */
export function rolledUp(vms: readonly Vm[], key: string): Rolled[] {
  const found = new Map<string, Vm[]>()
  for (const vm of vms) {
    const value = vm.labels[key] ?? ''
    const some = found.get(value)
    if (some === undefined) found.set(value, [vm])
    else some.push(vm)
  }
  return [...found]
    .map(([value, some]) => ({ value, vms: some, counts: countsOf(some) }))
    .sort((a, b) =>
      a.value === '' ? 1 : b.value === '' ? -1 : a.value.localeCompare(b.value, 'en', { numeric: true }),
    )
}
