// Does something with many flows, each with its own outcome: in one request where the engine has one for it, else in few
// at once.
import { client, unwrap, type Schemas } from '../../api/client'
import { asked } from './asked.svelte'
import { labelled, type Label, type Verb } from './bulk'
import type { Flow } from './state'

/** By flow: null when it was done, else why not. */
export type Outcomes = Map<string, string | null>

const MOST = 500 // flows in one request
const AT_ONCE = 6

/** Do it; `progress` hears how many have an outcome. */
export async function perform(
  verb: Verb,
  flows: readonly Flow[],
  label: Label,
  progress: (done: number) => void,
): Promise<Outcomes> {
  switch (verb) {
    case 'enable':
    case 'disable':
    case 'delete':
      return together(verb, flows, progress)
    case 'run':
      return singly(flows, (flow) => asked.start(flow), progress)
    case 'cancel': {
      const running = await executions()
      return singly(flows, (flow) => cancel(running.get(flow.id) ?? []), progress)
    }
    case 'label':
    case 'unlabel':
      return singly(flows, (flow) => relabel(flow, labelled(verb, flow, label)), progress)
  }
}

const ROUTES = {
  enable: '/api/v1/protection-flows/bulk-enable',
  disable: '/api/v1/protection-flows/bulk-disable',
  delete: '/api/v1/protection-flows/bulk-delete',
} as const

/** Ask the engine with which flows it would not be done, and why. */
export async function tried(verb: keyof typeof ROUTES, flows: readonly Flow[]): Promise<Outcomes> {
  return together(verb, flows, () => undefined, true)
}

async function together(
  verb: keyof typeof ROUTES,
  flows: readonly Flow[],
  progress: (done: number) => void,
  dry_run = false,
): Promise<Outcomes> {
  const outcomes: Outcomes = new Map()
  for (let at = 0; at < flows.length; at += MOST) {
    const ids = flows.slice(at, at + MOST).map((flow) => flow.id)
    const request = { params: { query: { dry_run } }, body: { flow_ids: ids } }
    try {
      const { errors } = await unwrap(client.POST(ROUTES[verb], request))
      for (const id of ids) outcomes.set(id, errors[id] ?? null)
    } catch (error) {
      for (const id of ids) outcomes.set(id, reason(error))
    }
    progress(outcomes.size)
  }
  return outcomes
}

async function singly(
  flows: readonly Flow[],
  act: (flow: Flow) => Promise<unknown>,
  progress: (done: number) => void,
): Promise<Outcomes> {
  const outcomes: Outcomes = new Map()
  const waiting = [...flows]
  const worker = async (): Promise<void> => {
    for (let flow = waiting.shift(); flow !== undefined; flow = waiting.shift()) {
      const { id } = flow
      outcomes.set(
        id,
        await act(flow).then(
          () => null,
          (error: unknown) => reason(error),
        ),
      )
      progress(outcomes.size)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return outcomes
}

/** Return the executions that run or wait, by flow. */
async function executions(): Promise<Map<string, Schemas['ExecutionResponse'][]>> {
  const found = new Map<string, Schemas['ExecutionResponse'][]>()
  const of = async (status: 'running' | 'pending'): Promise<void> => {
    for (let offset = 0, total = 1; offset < total; offset += MOST) {
      const params = { query: { status, limit: MOST, offset } }
      const page = await unwrap(client.GET('/api/v1/executions', { params }))
      total = page.total
      for (const one of page.executions)
        if (one.flow_id !== null) found.set(one.flow_id, [...(found.get(one.flow_id) ?? []), one])
    }
  }
  await Promise.all([of('running'), of('pending')])
  return found
}

async function cancel(some: readonly Schemas['ExecutionResponse'][]): Promise<void> {
  if (some.length === 0) throw new Error('nothing of it runs any more')
  for (const { id } of some) {
    const params = { path: { execution_id: id } }
    await unwrap(client.POST('/api/v1/executions/{execution_id}/cancel', { params, body: {} }))
  }
}

async function relabel(flow: Flow, labels: Record<string, string>): Promise<void> {
  await unwrap(
    client.PUT('/api/v1/protection-flows/{id}', {
      params: { path: { id: flow.id } },
      headers: { 'If-Match': `"${String(flow.version)}"` },
      body: { labels },
    }),
  )
}

/** Take back what was done with these flows, as they were before. */
export async function undo(verb: Verb, flows: readonly Flow[]): Promise<Outcomes> {
  const nobody = (): void => undefined
  if (verb === 'enable') return together('disable', flows, nobody)
  if (verb === 'disable') return together('enable', flows, nobody)
  // the version that this change made: what somebody has changed since stays
  return singly(flows, (flow) => relabel({ ...flow, version: flow.version + 1 }, flow.labels), nobody)
}

export const UNDONE: ReadonlySet<Verb> = new Set(['enable', 'disable', 'label', 'unlabel'])

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
