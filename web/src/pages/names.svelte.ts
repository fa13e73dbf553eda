// Names of what other things refer to by id.
import { client, unwrap } from '../api/client'
import { query } from '../query/query.svelte'

/** Names of repositories by id, as far as they may be seen. */
export function repositoryNames(): { readonly names: ReadonlyMap<string, string> } {
  const found = query(
    () => unwrap(client.GET('/api/v1/repositories', { params: { query: { limit: 500 } } })),
    { on: ['catalog.repository'] },
  )
  const names = $derived(new Map((found.data?.repositories ?? []).map((one) => [one.id, one.name])))
  return {
    get names() {
      return names
    },
  }
}
