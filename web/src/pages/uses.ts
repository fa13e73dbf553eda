// Which flows use a definition: their names and addresses.
import { client, unwrap } from '../api/client'

type Wanted = { repository_id: string } | { target_id: string }

/** Return the flows that use something. Throws `Problem`. */
export async function flowsOf(wanted: Wanted): Promise<[string, string][]> {
  const { flows } = await unwrap(
    client.GET('/api/v1/protection-flows', { params: { query: { ...wanted, limit: 500 } } }),
  )
  return flows.map((one) => [`flow ${one.name}`, `/flows/${one.id}`])
}
