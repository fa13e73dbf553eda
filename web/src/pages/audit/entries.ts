// Entries of the audit log: who asked for what, of which thing, and what changed by it.
import { client, Problem, unwrap, type Schemas } from '../../api/client'
import { part, text } from '../../log/reading'
import type { Names } from '../../log/sentences'

export type Entry = Schemas['AuditEntry']

export const ENTITIES = [
  ...(['flow', 'execution', 'backup', 'backfill', 'vm', 'group', 'schedule'] as const),
  ...(['repository', 'policy', 'notification', 'settings', 'freeze', 'token', 'worker', 'history'] as const),
] as const
export const VERBS = [
  ...([
    'create',
    'update',
    'delete',
    'enable',
    'disable',
    'execute',
    'cancel',
    'retry',
    'set',
    'lift',
  ] as const),
  ...(['add_member', 'add_members', 'update_member', 'remove_member', 'revoke', 'enrol', 'prune'] as const),
] as const

/** What entries are asked for: of whom, what, which thing, with which outcome, from when until when; '' is any. */
export interface Wanted {
  actor: string
  verb: string
  entity: string
  entity_id: string
  outcome: string
  from: string
  to: string
}

const PAGES: Record<string, (id: string) => string> = {
  flow: (id) => `/flows/${id}`,
  execution: (id) => `/executions/${id}`,
  backup: (id) => `/executions/${id}`,
  vm: (id) => `/vms/${id}`,
  group: (id) => `/groups/${id}`,
  repository: (id) => `/repositories/${id}`,
  schedule: (id) => `/schedules?edit=${id}`,
  policy: (id) => `/policies?edit=${id}`,
  notification: (id) => `/notifications?edit=${id}`,
  settings: () => '/settings',
  freeze: () => '/settings',
  token: () => '/tokens',
  worker: () => '/workers',
}

/** Return the page of the thing that an entry is about; undefined: it has none, or is gone by that. */
export function pageOf({ entity, entity_id, verb, outcome }: Entry): string | undefined {
  if (outcome === 'accepted' && verb === 'delete') return undefined
  if (outcome === 'rejected' && verb === 'create') return undefined
  return PAGES[entity]?.(encodeURIComponent(entity_id))
}

/** Return what the thing is called, as far as it is known, else its id. */
export function nameOf({ entity, entity_id, before, after, request }: Entry, names: Names): string {
  if (entity === 'settings' || entity === 'freeze') return ''
  const said = [after, before, part(request ?? {}, 'spec')].map((one) =>
    one === null ? '' : text(one, 'name') || text(one, 'vm_name'),
  )
  const known = entity === 'flow' ? names.flow(entity_id) : entity === 'vm' ? names.vm(entity_id) : undefined
  return said.find((one) => one !== '') ?? known ?? entity_id
}

/** `add member`. */
export function action({ verb }: Entry): string {
  return verb.replaceAll('_', ' ')
}

/** What kind of thing it is about. */
export function kind({ entity }: Entry): string {
  return entity === 'vm' ? 'VM' : entity
}

/** Return what came of an entry, in short: why it was refused, or which fields changed. */
export function cameOf(entry: Entry): string {
  if (entry.reason !== null) return entry.reason
  if (entry.before === null || entry.after === null) return ''
  return changes(entry)
    .map(({ field }) => field.replaceAll('_', ' '))
    .join(', ')
}

const OWN = new Set(['id', 'version', 'created_at', 'updated_at', 'created_by'])

/** Return the fields that an entry changed: each with what it was and what it became, as JSON; '' where there is none. */
export function changes({ before, after }: Entry): { field: string; before: string; after: string }[] {
  const fields = new Set(
    [...Object.keys(before ?? {}), ...Object.keys(after ?? {})].filter((one) => !OWN.has(one)),
  )
  return [...fields]
    .map((field) => ({ field, before: told(before?.[field]), after: told(after?.[field]) }))
    .filter((one) => one.before !== one.after)
}

function told(value: unknown): string {
  if (value === undefined || value === null) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** Return entries as rows of a table, under its head. */
export function rows(entries: readonly Entry[], names: Names): string[][] {
  const head = ['time', 'actor', 'action', 'kind', 'name', 'id', 'outcome', 'reason', 'changes']
  return [
    head,
    ...entries.map((one) => [
      ...[one.time, one.actor, action(one), one.entity, nameOf(one, names), one.entity_id],
      ...[one.outcome, one.reason ?? ''],
      changes(one)
        .map(({ field, before, after }) => `${field}: ${before} → ${after}`)
        .join('; '),
    ]),
  ]
}

/** Read a page of entries, newest first. Throws `Problem`. */
export async function readEntries(
  wanted: Wanted,
  page: { limit: number; offset: number },
  signal: AbortSignal,
): Promise<Schemas['AuditList']> {
  const given = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== ''))
  return unwrap(client.GET('/api/v1/audit', { params: { query: { ...given, ...page } }, signal }))
}

const MOST = 20_000
const TOO_MUCH = 422

/** Read all entries, up to `MOST`; `tell`: how many there are so far, of how many. Throws `Problem`. */
export async function allEntries(
  wanted: Wanted,
  now: string,
  tell: (read: number, total: number) => void,
  signal: AbortSignal,
): Promise<{ entries: Entry[]; total: number }> {
  const fixed = { ...wanted, to: wanted.to === '' ? now : wanted.to } // what comes meanwhile would move the pages
  const entries: Entry[] = []
  for (let limit = 500; ;) {
    try {
      const page = await readEntries(fixed, { limit, offset: entries.length }, signal)
      entries.push(...page.commands)
      tell(entries.length, page.total)
      if (page.commands.length < limit || entries.length >= Math.min(page.total, MOST))
        return { entries, total: page.total }
    } catch (error) {
      // large definitions, many of them beside each other
      if (!(error instanceof Problem) || error.status !== TOO_MUCH || limit === 1) throw error
      limit = Math.ceil(limit / 5)
    }
  }
}
