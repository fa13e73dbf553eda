// How the VMs of groups stand, told from how each VM stands.
import type { Schemas } from '../../api/client'

export type Covered = Schemas['CoveredVm']
export type State = Covered['state']

/** From the worst on: what a group is said to be is the worst that one of its VMs is. */
export const STATES: readonly State[] = [
  'failing',
  'stale',
  'unprotected',
  'pending',
  'protected',
  'excluded',
]

export interface Rollup {
  worst: State
  counts: Partial<Record<State, number>>
}

/** Return how many VMs of each group are in each state; a group without VMs has none. */
export function rollup(vms: readonly Pick<Covered, 'state' | 'groups'>[]): Map<string, Rollup> {
  const found = new Map<string, Rollup>()
  for (const { state, groups } of vms) {
    for (const { group_id } of groups) {
      const one = found.get(group_id) ?? { worst: state, counts: {} }
      one.counts[state] = (one.counts[state] ?? 0) + 1
      if (STATES.indexOf(state) < STATES.indexOf(one.worst)) one.worst = state
      found.set(group_id, one)
    }
  }
  return found
}
