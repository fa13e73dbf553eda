// A part of the log, as one looks at it: its newest events and what comes, older ones as one goes back, and what waits
// while it is paused.
import { Problem } from '../api/client'
import type { LogEvent } from '../live/events'
import { takes, type LogFilter } from './filter'
import { fold, type Line } from './fold'
import { NEWEST, type Past } from './past'

const MOST = 6_000 // events; then the oldest are let go, while one is at the end
const KEPT = 5_000
const ROOM = 40_000 // what may come while one is further back, before it has to wait
const AGAIN = 2_000 // milliseconds: what came just before this began, the tables may not have had yet

export class LogWindow {
  lines = $state.raw<readonly Line[]>([])
  /** How many events the lines have. */
  count = $state(0)
  /** How many events wait until it goes on. */
  held = $state(0)
  reading = $state(false)
  /** Whether nothing older is to be found. */
  complete = $state(false)
  problem = $state.raw<Problem | null>(null)
  follows = $state(true)

  private events: LogEvent[] = []
  private waiting: LogEvent[] = []
  private heard: LogEvent[] | null = null // while it is read
  private missed = false
  private paused = false
  private folds = true
  private timer: ReturnType<typeof setTimeout> | undefined

  /** `read`: what there is before a sequence; `called`: the ids of flows with a name. */
  constructor(
    private readonly wanted: LogFilter,
    private readonly read: (before: number) => Promise<Past>,
    private readonly called: (name: string) => string[],
  ) {}

  /** Read the newest events. */
  async begin(): Promise<void> {
    this.missed = false
    this.events = []
    this.drop()
    await this.take(NEWEST, (past, heard) => ordered([...past, ...heard]))
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      if (this.heard === null && !this.holding)
        void this.take(NEWEST, (past, heard) => this.with([...past, ...heard]))
    }, AGAIN)
  }

  /** Read some of the events before the first. */
  async older(): Promise<void> {
    const first = this.events[0]
    if (this.heard !== null || this.complete || first === undefined || this.problem !== null) return
    await this.take(first.sequence, (past, heard) => ordered([...past, ...this.events, ...heard]))
  }

  /** Read again what could not be read. */
  async retry(): Promise<void> {
    this.problem = null
    await (this.events.length === 0 ? this.begin() : this.older())
  }

  /** Take the events of a frame. `gap`: there were others, too. */
  hear(events: readonly LogEvent[], gap: boolean): void {
    const mine = events.filter((event) => takes(this.wanted, event, this.called))
    if (gap) this.missed = true
    if (this.heard !== null) this.heard.push(...mine)
    else if (this.holding) this.hold(mine)
    else if (this.missed) void this.begin()
    else this.append(mine)
  }

  /** Let what comes wait, or go on with it. */
  pause(paused: boolean): void {
    this.paused = paused
    this.go()
  }

  /** Go on with what waits, when nothing keeps it. */
  go(): void {
    if (this.holding || this.heard !== null) return
    const some = this.drop()
    if (this.missed) void this.begin()
    else this.append(some)
  }

  /** Collapse what repeats, or show each event. */
  collapse(folds: boolean): void {
    if (folds === this.folds) return
    this.folds = folds
    this.show(this.events)
  }

  stop(): void {
    clearTimeout(this.timer)
  }

  private get holding(): boolean {
    return this.paused || (!this.follows && this.events.length > ROOM)
  }

  private append(some: readonly LogEvent[]): void {
    if (some.length === 0) return
    this.events.push(...some)
    if (this.follows && this.events.length > MOST) {
      this.complete = false
      this.show(this.events.slice(-KEPT))
    } else {
      this.lines = fold(this.lines, some, this.folds)
      this.count = this.events.length
    }
  }

  private hold(some: readonly LogEvent[]): void {
    this.held += some.length
    if (this.waiting.length + some.length > MOST) {
      this.missed = true
      this.waiting = []
    } else if (!this.missed) this.waiting.push(...some)
  }

  private drop(): LogEvent[] {
    const some = this.waiting
    this.waiting = []
    this.held = 0
    return some
  }

  /** The events, with more of which some may be there. */
  private with(more: readonly LogEvent[]): LogEvent[] {
    const first = this.events[0]?.sequence ?? 0
    return ordered([...this.events, ...more.filter((one) => one.sequence > first)])
  }

  private async take(
    before: number,
    merge: (past: readonly LogEvent[], heard: readonly LogEvent[]) => LogEvent[],
  ): Promise<void> {
    const heard: LogEvent[] = (this.heard = [])
    this.reading = true
    try {
      const { events, more } = await this.read(before)
      this.problem = null
      if (before !== NEWEST || this.events.length === 0) this.complete = !more
      const next = merge(events, this.paused ? [] : heard)
      if (next.length !== this.events.length || next.length === 0) this.show(next)
      if (this.paused) this.hold(heard)
    } catch (error) {
      this.problem = error instanceof Problem ? error : new Problem(0, 'Error', String(error))
      this.append(heard)
    } finally {
      this.heard = null
      this.reading = false
    }
  }

  private show(events: LogEvent[]): void {
    this.events = events
    this.count = events.length
    this.lines = fold([], events, this.folds)
  }
}

/** Return events in the log's order, each once. */
function ordered(events: readonly LogEvent[]): LogEvent[] {
  const found = new Map(events.map((one) => [one.sequence, one]))
  return [...found.values()].sort((a, b) => a.sequence - b.sequence)
}
