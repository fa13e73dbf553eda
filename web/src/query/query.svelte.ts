// What a page shows of the engine, kept as new as it can be: read at once, read anew when the log says something that
// concerns it, and kept, with its age, while it cannot be read.
import { Problem } from '../api/client'
import { concerns } from '../live/events'
import { live } from '../live/live.svelte'

export interface Options {
  /** Types or families of events after which it may be another: `flow`, `backup.completed`. */
  on?: readonly string[]
  /** Milliseconds between readings while nothing happens; what depends on the time. */
  every?: number
}

const SOON = 250 // milliseconds: the tables follow the log with a short delay
const AGAIN = 1500 // milliseconds: and sometimes with a longer one
const USUALLY = 60_000

export class Query<T> {
  data = $state.raw<T | undefined>()
  problem = $state.raw<Problem | null>(null)
  /** When `data` was read, in milliseconds. */
  readAt = $state<number | null>(null)
  reading = $state(false)

  private current: AbortController | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  private heardAt = 0
  private cost = 0

  constructor(
    private readonly load: (signal: AbortSignal) => Promise<T>,
    private readonly options: Options,
  ) {}

  /** Whether what is shown may be old: it could not be read anew. */
  get stale(): boolean {
    return this.problem !== null && this.data !== undefined
  }

  /** Read it now. What `load` looks at before it first waits, it depends on. */
  async refresh(): Promise<void> {
    clearTimeout(this.timer)
    this.plannedFor = 0
    this.current?.abort()
    const current = (this.current = new AbortController())
    const began = Date.now()
    const request = this.load(current.signal) // before anything is waited for: see above
    this.reading = true
    try {
      const data = await request
      if (current.signal.aborted) return
      this.data = data
      this.problem = null
      this.readAt = Date.now()
    } catch (error) {
      if (current.signal.aborted) return
      this.problem = error instanceof Problem ? error : new Problem(0, 'Error', String(error))
    }
    this.reading = false
    this.cost = Date.now() - began
    if (this.heardAt > began - SOON) this.plan(AGAIN)
    else this.plan(this.options.every ?? USUALLY)
  }

  /** Read it anew soon: something has happened. */
  hear(): void {
    this.heardAt = Date.now()
    if (!this.reading) this.plan(Math.max(SOON, 2 * this.cost))
  }

  /** Follow the log until what is returned is called. */
  follow(): () => void {
    const types = this.options.on ?? []
    const off = live.on((events, gap) => {
      if (gap || events.some((event) => concerns(event, types))) this.hear()
    })
    const seen = (): void => {
      if (!document.hidden && this.plannedFor < Date.now()) void this.refresh()
    }
    document.addEventListener('visibilitychange', seen)
    return () => {
      off()
      document.removeEventListener('visibilitychange', seen)
      clearTimeout(this.timer)
      this.current?.abort()
    }
  }

  private plannedFor = 0

  private plan(after: number): void {
    const at = Date.now() + after
    if (this.plannedFor > Date.now() && this.plannedFor <= at) return // sooner already
    clearTimeout(this.timer)
    this.plannedFor = at
    this.timer = setTimeout(() => {
      if (!document.hidden) void this.refresh()
    }, after)
  }
}

/** Return what a component shows: it is read anew, too, when something changes that `load` looks at. */
export function query<T>(load: (signal: AbortSignal) => Promise<T>, options: Options = {}): Query<T> {
  const found = new Query(load, options)
  $effect(() => {
    void found.refresh()
  })
  $effect(() => found.follow())
  return found
}
