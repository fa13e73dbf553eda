// What a flow can be made of: all that there is to choose from.
import { client, unwrap, type Schemas } from '../../../api/client'
import { paged } from '../../../query/paged'

export interface Definitions {
  vms: Schemas['VmResponse'][]
  groups: Schemas['GroupResponse'][]
  schedules: Schemas['Schedule'][]
  repositories: Schemas['RepositoryResponse'][]
  policies: Schemas['PolicyResponse'][]
}

export async function definitions(signal: AbortSignal): Promise<Definitions> {
  const [vms, groups, schedules, repositories, policies] = await Promise.all([
    paged(
      async (query) => {
        const found = await unwrap(client.GET('/api/v1/vm-contexts', { params: { query }, signal }))
        return { total: found.total, items: found.vm_contexts }
      },
      (one) => one.context_id,
    ),
    paged(
      async (query) => {
        const found = await unwrap(client.GET('/api/v1/machine-groups', { params: { query }, signal }))
        return { total: found.total, items: found.groups }
      },
      (one) => one.id,
    ),
    paged(
      async (query) => {
        const found = await unwrap(client.GET('/api/v1/schedules', { params: { query }, signal }))
        return { total: found.total, items: found.schedules }
      },
      (one) => one.id,
    ),
    paged(
      async (query) => {
        const found = await unwrap(client.GET('/api/v1/repositories', { params: { query }, signal }))
        return { total: found.total, items: found.repositories }
      },
      (one) => one.id,
    ),
    paged(
      async (query) => {
        const found = await unwrap(client.GET('/api/v1/policies', { params: { query }, signal }))
        return { total: found.total, items: found.policies }
      },
      (one) => one.id,
    ),
  ])
  return { vms, groups, schedules, repositories, policies }
}
