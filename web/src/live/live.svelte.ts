// The log, live, in all tabs of a browser over one connection: the tab that holds the lock reads and tells the others;
// when it closes, the next one gets the lock and reads on from what it last heard.
import { SvelteSet } from 'svelte/reactivity'

import type { LogEvent } from './events'
import { Frames } from './frames'
import { read, SignedOut } from './stream'

export type Connection = 'connecting' | 'live' | 'lost'
/** `gap`: there were events that this tab has not heard; what it shows is to be read anew. */
export type Listener = (events: readonly LogEvent[], gap: boolean) => void

type Message =
  | { kind: 'state'; state: Connection; since: number }
  | { kind: 'event'; event: LogEvent }
  | { kind: 'gap' }
  | { kind: 'hello' }

const NAME = 'flows-live'
const PAUSES = [500, 1000, 2000, 5000] // milliseconds between tries

class Live {
  connection = $state<Connection>('connecting')
  /** When it became so, in milliseconds. */
  since = $state(Date.now())

  private readonly listeners = new SvelteSet<Listener>()
  private readonly frames = new Frames<LogEvent>((events, overflown) => {
    this.give(events, overflown)
  })
  private channel: BroadcastChannel | null = null
  private stopping: AbortController | null = null
  private last: number | undefined

  /** Hear events, once per animation frame at most; returns what stops it. */
  on(listener: Listener): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  start(): void {
    if (this.stopping !== null) return
    const stopping = (this.stopping = new AbortController())
    const channel = (this.channel = new BroadcastChannel(NAME))
    let leads = false
    channel.onmessage = ({ data }: MessageEvent<Message>) => {
      if (data.kind === 'hello') {
        if (leads) this.tell({ kind: 'state', state: this.connection, since: this.since })
      } else if (!leads) this.take(data)
    }
    this.tell({ kind: 'hello' })
    void navigator.locks
      .request(NAME, { signal: stopping.signal }, async () => {
        leads = true
        await this.lead(stopping.signal)
      })
      .catch(() => undefined) // stopped while it waited
  }

  stop(): void {
    this.stopping?.abort()
    this.channel?.close()
    this.stopping = this.channel = null
    this.last = undefined
  }

  private async lead(signal: AbortSignal): Promise<void> {
    for (let tries = 0; !signal.aborted;) {
      try {
        await read(
          this.last,
          signal,
          () => {
            tries = 0
            this.become('live')
          },
          (event) => {
            this.say({ kind: 'event', event })
          },
        )
      } catch (error) {
        if (signal.aborted || error instanceof SignedOut) return
        // a log that ends before what was heard is another one: what comes from now on counts
        if (error instanceof Error && error.message.endsWith('400')) this.last = undefined
      }
      if (signal.aborted) return
      this.become('lost')
      await new Promise((resolve) => setTimeout(resolve, PAUSES[Math.min(tries, PAUSES.length - 1)]))
      tries += 1
    }
  }

  private become(state: Connection): void {
    if (state === this.connection) return
    // what came before it heard anything, it has not heard
    const gap = state === 'live' && this.connection === 'lost'
    this.say({ kind: 'state', state, since: Date.now() })
    if (gap) this.say({ kind: 'gap' })
  }

  private say(message: Message): void {
    this.tell(message)
    this.take(message)
  }

  private tell(message: Message): void {
    this.channel?.postMessage(message)
  }

  private take(message: Message): void {
    if (message.kind === 'event') {
      this.last = message.event.sequence
      this.frames.add(message.event)
    } else if (message.kind === 'state') {
      this.connection = message.state
      this.since = message.since
    } else if (message.kind === 'gap') this.give([], true)
  }

  private give(events: readonly LogEvent[], gap: boolean): void {
    for (const listener of this.listeners) listener(events, gap)
  }
}

export const live = new Live()
