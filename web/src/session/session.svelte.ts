// Who is signed in, in this browser.
import { authorize, client, Problem, unwrap, type Schemas } from '../api/client'

export type Role = 'viewer' | 'operator' | 'admin'

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 }

class Session {
  /** undefined: not known yet; null: nobody. */
  who = $state<Schemas['SessionResponse'] | null | undefined>(undefined)
  ended = $state(false)

  /** Tell whether who is signed in may do what needs a role. */
  may(role: Role): boolean {
    return this.who != null && RANK[this.who.role] >= RANK[role]
  }

  /** Tell whether a page is for who is signed in. */
  sees(place: { role?: Role; unscoped?: boolean }): boolean {
    return this.may(place.role ?? 'viewer') && (place.unscoped !== true || this.unscoped)
  }

  /** Whether everything may be seen, not some groups alone. */
  get unscoped(): boolean {
    return this.who != null && this.who.groups === null
  }

  /** Whether one may make VMs, groups, schedules, repositories and policies: those with a scope may not. */
  get defines(): boolean {
    return this.may('admin') && this.unscoped
  }

  /** Ask the engine who is signed in. Throws `Problem` when it does not reply. */
  async load(): Promise<void> {
    try {
      this.take(await unwrap(client.GET('/api/v1/session')))
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) throw error
      this.take(null)
    }
  }

  /** Sign in with a token. Throws `Problem`. */
  async signIn(token: string): Promise<void> {
    this.take(await unwrap(client.POST('/api/v1/session', { body: { token } })))
    this.ended = false
  }

  async signOut(): Promise<void> {
    await unwrap(client.DELETE('/api/v1/session'))
    this.take(null)
  }

  private take(who: Schemas['SessionResponse'] | null): void {
    authorize(who?.csrf_token ?? null, () => {
      this.ended = true
      this.who = null
    })
    this.who = who
  }
}

export const session = new Session()
