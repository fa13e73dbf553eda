// The freeze: nothing starts by its schedule, as somebody wants it so.
import { client, unwrap, type Schemas } from '../api/client'

export type Freeze = Schemas['FreezeResponse']

const BEFORE = 3_600_000 // milliseconds

/** Return the freeze that is in force, null when there is none. Throws `Problem`. */
export async function freezeInForce(signal?: AbortSignal): Promise<Freeze | null> {
  // about an instant that has passed: no flow's calendar has to be looked at for it
  const at = new Date(Date.now() - BEFORE).toISOString()
  const query = { from: at, to: at }
  const found = await unwrap(
    client.GET('/api/v1/calendar', { params: { query }, ...(signal === undefined ? {} : { signal }) }),
  )
  return found.freeze
}
