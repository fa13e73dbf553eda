// All flows, however many.
import { client, unwrap } from '../../api/client'
import { paged } from '../../query/paged'
import type { Flow } from './state'

export function allFlows(signal: AbortSignal): Promise<Flow[]> {
  return paged(
    async (query) => {
      const page = await unwrap(client.GET('/api/v1/protection-flows', { params: { query }, signal }))
      return { total: page.total, items: page.flows }
    },
    (flow) => flow.id,
  )
}
