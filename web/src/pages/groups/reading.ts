// What is read of all VMs, in as many requests as it takes.
import { client, unwrap, type Schemas } from '../../api/client'
import type { Covered } from './rollup'

/** Return how all VMs stand, or those of a group. Throws `Problem`. */
export async function coverage(signal: AbortSignal, group?: string): Promise<Covered[]> {
  const limit = 1000
  const vms: Covered[] = []
  for (;;) {
    const wanted = { limit, offset: vms.length, ...(group === undefined ? {} : { group_id: group }) }
    const found = await unwrap(client.GET('/api/v1/coverage', { params: { query: wanted }, signal }))
    vms.push(...found.vms)
    if (vms.length >= found.total || found.vms.length === 0) return vms
  }
}

/** Return all VMs. Throws `Problem`. */
export async function allVms(signal: AbortSignal): Promise<Schemas['VmResponse'][]> {
  const limit = 500
  const vms: Schemas['VmResponse'][] = []
  for (;;) {
    const wanted = { limit, offset: vms.length, sort: 'name' as const }
    const found = await unwrap(client.GET('/api/v1/vm-contexts', { params: { query: wanted }, signal }))
    vms.push(...found.vm_contexts)
    if (vms.length >= found.total || found.vm_contexts.length === 0) return vms
  }
}

/** Return all members of a group. Throws `Problem`. */
export async function membersOf(group_id: string, signal: AbortSignal): Promise<Schemas['MemberResponse'][]> {
  const limit = 500
  const vms: Schemas['MemberResponse'][] = []
  for (;;) {
    const found = await unwrap(
      client.GET('/api/v1/machine-groups/{group_id}/vms', {
        params: { path: { group_id }, query: { limit, offset: vms.length } },
        signal,
      }),
    )
    vms.push(...found.vms)
    if (vms.length >= found.total || found.vms.length === 0) return vms
  }
}
