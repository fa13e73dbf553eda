// Names of what other things refer to by id.
import { client, unwrap } from '../api/client'

/** Return names of repositories by id. Throws `Problem`. */
export async function repositoryNames(): Promise<ReadonlyMap<string, string>> {
  const { repositories } = await unwrap(
    client.GET('/api/v1/repositories', { params: { query: { limit: 500 } } }),
  )
  return new Map(repositories.map((one) => [one.id, one.name]))
}
