// What became of the backups of one VM that began on one day, fetched when somebody looks.
import { client, unwrap, type Schemas } from '../../api/client'
import { bytes } from '../../format/numbers'
import { bounds, duration, short } from '../../format/time'

const FEW = 4
const KEPT = 500 // days that were looked at

const seen = new Map<string, Promise<string>>()

/** The page with the backups of a VM that began on a day. */
export function backupsOf(contextId: string, day: string): string {
  return `/backups?${new URLSearchParams({ vm: contextId, from: day, to: day, outcome: 'all' }).toString()}`
}

/** Return in words what the backups of a day were; `letter`: what the matrix says of it, which may have changed since. */
export function detail(contextId: string, day: string, letter: string): Promise<string> {
  const key = `${contextId} ${day} ${letter}`
  let found = seen.get(key)
  if (found === undefined) {
    found = fetchIt(contextId, day)
    found.catch(() => seen.delete(key))
    if (seen.size >= KEPT) seen.clear()
    // what still runs is another one a moment later
    if (letter !== 'r') seen.set(key, found)
  }
  return found
}

async function fetchIt(contextId: string, day: string): Promise<string> {
  const range = bounds(day)
  if (range === null) return ''
  const query = { context_id: contextId, ...range, limit: FEW }
  const { backups, total } = await unwrap(client.GET('/api/v1/backups', { params: { query } }))
  return told(backups, total)
}

/** Say in words what backups were, the newest first. */
export function told(backups: readonly Schemas['ListedBackup'][], total: number): string {
  const lines = backups.map((one) => {
    const at = short(new Date(one.started_at ?? one.created_at), new Date(one.started_at ?? one.created_at))
    const took =
      one.started_at !== null && one.completed_at !== null
        ? ` in ${duration((Date.parse(one.completed_at) - Date.parse(one.started_at)) / 1000)}`
        : ''
    const what =
      one.result === 'success' ? `${bytes(one.bytes_transferred)}${took}` : (one.error_message ?? '')
    return `${at} ${one.result}${what === '' ? '' : `: ${what}`}`
  })
  if (total > lines.length) lines.push(`and ${String(total - lines.length)} more`)
  return lines.join(' · ')
}
