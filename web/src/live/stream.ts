// One connection to the live stream of the log: it reads until it ends, and says where it was.
import { EventSourceParserStream } from 'eventsource-parser/stream'

import { parse, type LogEvent } from './events'

/** Without a word for so long, a connection is as good as cut: the engine sends a comment each 15 s. */
const SILENCE = 40_000 // milliseconds

export class SignedOut extends Error {}

/** Read events after a sequence (undefined: from now on) until the stream ends or is aborted. Throws what fetch does. */
export async function read(
  after: number | undefined,
  signal: AbortSignal,
  opened: () => void,
  heard: (event: LogEvent) => void,
): Promise<void> {
  const silent = new AbortController()
  let timer = setTimeout(() => {
    silent.abort()
  }, SILENCE)
  const response = await fetch(`/api/v1/events${after === undefined ? '' : `?after=${String(after)}`}`, {
    headers: { Accept: 'text/event-stream' },
    signal: AbortSignal.any([signal, silent.signal]),
  })
  if (response.status === 401) throw new SignedOut()
  if (!response.ok || response.body === null)
    throw new Error(`the stream answered ${String(response.status)}`)
  opened()
  const alive = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      clearTimeout(timer)
      timer = setTimeout(() => {
        silent.abort()
      }, SILENCE)
      controller.enqueue(chunk)
    },
  })
  const decoder = new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>
  const reader = response.body
    .pipeThrough(alive)
    .pipeThrough(decoder)
    .pipeThrough(new EventSourceParserStream())
    .getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const event = parse(value.id, value.data)
      if (event !== null) heard(event)
    }
  } finally {
    clearTimeout(timer)
  }
}
