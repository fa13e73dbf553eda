// All VMs, with whether they are protected: page by page, as the API gives them.
import { client, unwrap, type Schemas } from '../../api/client'

const PAGE = 1000

/** Return all VMs that may be seen, or those of a flow, those that need attention first. Throws `Problem`. */
export async function allVms(signal: AbortSignal, flow_id?: string): Promise<Schemas['CoveredVm'][]> {
  const found = new Map<string, Schemas['CoveredVm']>()
  for (let offset = 0; ; offset += PAGE) {
    const query = { limit: PAGE, offset, ...(flow_id === undefined ? {} : { flow_id }) }
    const page = await unwrap(client.GET('/api/v1/coverage', { params: { query }, signal }))
    for (const vm of page.vms) found.set(vm.context_id, vm)
    if (page.vms.length === 0 || offset + PAGE >= page.total) return [...found.values()]
  }
}
