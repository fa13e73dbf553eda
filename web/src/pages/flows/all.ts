// All flows, however many: the pages of the list are read beside each other.
import { client, unwrap } from '../../api/client'
import type { Flow } from './state'

const PAGE = 500 // the most that one page of the list has

export async function allFlows(signal: AbortSignal): Promise<Flow[]> {
  const page = (offset: number) =>
    unwrap(client.GET('/api/v1/protection-flows', { params: { query: { limit: PAGE, offset } }, signal }))
  const first = await page(0)
  const offsets = Array.from({ length: Math.ceil(first.total / PAGE) - 1 }, (_, n) => (n + 1) * PAGE)
  const rest = await Promise.all(offsets.map(page))
  // one that is made meanwhile moves the others down: they are on two pages
  const found = new Map(
    [first, ...rest].flatMap(({ flows }) => flows.map((flow) => [flow.id, flow] as const)),
  )
  return [...found.values()]
}
