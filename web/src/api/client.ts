// The engine's HTTP API, by the types of its own OpenAPI document. What fails is a `Problem` with words for people.
import createClient, { type Middleware } from 'openapi-fetch'

import { sentence } from '../format/sentences'
import type { components, paths } from './schema'

export type Schemas = components['schemas']

export interface FieldError {
  field: string
  message: string
}

/** A reply that is no success, as RFC 9457 says it; `status` 0: there was no reply at all. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    detail: string,
    readonly errors: FieldError[] = [],
  ) {
    super(detail)
  }

  /** What is wrong with a field, or with something in it, in sentences. */
  of(field: string): string | undefined {
    const found = this.errors.filter((one) => within(one.field, field))
    return found.length === 0 ? undefined : found.map((one) => sentence(one.message)).join(' ')
  }
}

/** Tell whether a field is another one, or something in it: `disks[0].path` is within `disks`. */
export function within(field: string, other: string): boolean {
  return field === other || field.startsWith(`${other}[`) || field.startsWith(`${other}.`)
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])
let csrfToken: string | null = null
let onSignedOut: () => void = () => undefined

/** Take the token that every request needs which changes something; `ended` is called when the session has ended. */
export function authorize(token: string | null, ended: () => void): void {
  csrfToken = token
  onSignedOut = ended
}

const session: Middleware = {
  onRequest({ request }) {
    if (!SAFE.has(request.method) && csrfToken !== null) request.headers.set('X-CSRF-Token', csrfToken)
    return request
  },
  onResponse({ response, schemaPath }) {
    if (response.status === 401 && schemaPath !== '/api/v1/session') onSignedOut()
  },
  onError({ error }) {
    if (error instanceof DOMException && error.name === 'AbortError') return error
    return unreachable()
  },
}

export const client = createClient<paths>({ querySerializer: { array: { style: 'form', explode: true } } })
client.use(session)

interface Reply<T> {
  data?: T
  error?: unknown
  response: Response
}

/** Return what a request was answered with. Throws `Problem`. */
export async function unwrap<T>(request: Promise<Reply<T>>): Promise<T> {
  const { data, error, response } = await request
  if (!response.ok) throw problem(response, error)
  return data as T
}

/** Do what the engine itself proposes: a method and a path of its API. Throws `Problem`. */
export async function perform(method: 'POST' | 'PATCH' | 'DELETE', path: string): Promise<void> {
  const address = new URL(path, location.origin)
  if (address.origin !== location.origin || !address.pathname.startsWith('/api/v1/'))
    throw new Problem(0, 'Not done', `${path} is no path of the engine's API`)
  const headers: Record<string, string> = csrfToken === null ? {} : { 'X-CSRF-Token': csrfToken }
  let response: Response
  try {
    response = await fetch(address, { method, headers })
  } catch {
    throw unreachable()
  }
  if (response.status === 401) onSignedOut()
  if (!response.ok) throw problem(response, await response.json().catch(() => null))
}

function unreachable(): Problem {
  return new Problem(0, 'No reply', 'the engine does not reply: is it running, and is the network up?')
}

function problem(response: Response, body: unknown): Problem {
  if (typeof body === 'object' && body !== null && 'detail' in body) {
    const { title, detail, errors } = body as { title?: string; detail: string; errors?: FieldError[] }
    return new Problem(response.status, title ?? response.statusText, detail, errors ?? [])
  }
  return new Problem(response.status, response.statusText, `the engine answered ${String(response.status)}`)
}
