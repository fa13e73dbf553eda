// What the log says, as the page hears it: CloudEvents, each with its sequence.

export interface LogEvent {
  sequence: number
  type: string
  /** Of an event of a flow, its id; of a definition, the definition's. */
  subject: string
  time: string
  actor?: string
  /** The execution, or the command, that it belongs to. */
  correlationid?: string
  data: Record<string, unknown>
}

/** Tell whether an event is of one of these types or families: `flow` takes `flow.completed`. */
export function concerns(event: LogEvent, types: readonly string[]): boolean {
  return types.some((type) => event.type === type || event.type.startsWith(`${type}.`))
}

/** Return an event as the stream sends it; null when it is none. */
export function parse(sequence: string | undefined, body: string): LogEvent | null {
  const number = Number(sequence)
  if (sequence === undefined || !Number.isSafeInteger(number)) return null
  try {
    return { ...(JSON.parse(body) as Omit<LogEvent, 'sequence'>), sequence: number }
  } catch {
    return null
  }
}
