// A flow as it is written in the dialog, and what of it somebody else has changed meanwhile.
import type { Schemas } from '../../../api/client'
import type { Flow } from '../state'

export type Overlap = Schemas['FlowRequest']['overlap_policy']

export interface Written {
  name: string
  description: string
  labels: Record<string, string>
  flow_type: 'backup' | 'replication'
  target_type: 'vm' | 'group'
  target_id: string
  schedule_id: string | null
  repository_id: string | null
  policy_id: string | null
  enabled: boolean
  overlap_policy: NonNullable<Overlap>
  priority: number
  max_concurrent_jobs: number | null
}

export const OVERLAPS: Record<NonNullable<Overlap>, string> = {
  skip: 'skip it',
  buffer_one: 'let one wait its turn',
  buffer_all: 'let all wait their turn',
  cancel_other: 'cancel what runs, and begin',
  allow: 'run both at once',
}

const FIELDS: Record<keyof Written, string> = {
  name: 'name',
  description: 'description',
  labels: 'labels',
  flow_type: 'type',
  target_type: 'kind of target',
  target_id: 'target',
  schedule_id: 'schedule',
  repository_id: 'repository',
  policy_id: 'policy',
  enabled: 'enabled',
  overlap_policy: 'overlap policy',
  priority: 'priority',
  max_concurrent_jobs: 'VMs at once',
}

/** Return a flow to write on, or an empty one. */
export function written(flow?: Flow): Written {
  return {
    name: flow?.name ?? '',
    description: flow?.description ?? '',
    labels: { ...flow?.labels },
    flow_type: flow?.flow_type === 'replication' ? 'replication' : 'backup',
    target_type: flow === undefined || flow.target_type === 'group' ? 'group' : 'vm',
    target_id: flow?.target_id ?? '',
    schedule_id: flow?.schedule_id ?? null,
    repository_id: flow?.repository_id ?? null,
    policy_id: flow?.policy_id ?? null,
    enabled: flow?.enabled ?? true,
    overlap_policy: Object.keys(OVERLAPS).find(isOverlap(flow?.overlap_policy)) ?? 'skip',
    priority: flow?.priority ?? 0,
    max_concurrent_jobs: flow?.max_concurrent_jobs ?? null,
  }
}

function isOverlap(wanted: string | undefined) {
  return (one: string): one is NonNullable<Overlap> => one === wanted
}

/** What somebody else has changed: the fields of theirs that differ from what this was begun with. */
export function changes(began: Written, theirs: Written): string[] {
  return (Object.keys(FIELDS) as (keyof Written)[])
    .filter((field) => JSON.stringify(began[field]) !== JSON.stringify(theirs[field]))
    .map((field) => FIELDS[field])
}

/** What has still to be chosen before it can be tried. */
export function missing(flow: Written): string[] {
  const found: string[] = []
  if (flow.target_id === '') found.push('what to back up')
  if (flow.repository_id === null) found.push('where to')
  return found
}
