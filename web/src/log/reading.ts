// What an event carries, read with care: the log is older and newer than this page, and anything may be missing.

type Data = Record<string, unknown>

/** A text, or '' when there is none. */
export function text(data: Data, field: string): string {
  const value = data[field]
  return typeof value === 'string' ? value : ''
}

/** A number, or 0 when there is none. */
export function number(data: Data, field: string): number {
  const value = data[field]
  return typeof value === 'number' ? value : 0
}

/** The objects of a list. */
export function list(data: Data, field: string): Data[] {
  const value = data[field]
  return Array.isArray(value) ? (value as unknown[]).filter(isData) : []
}

/** The texts of a list. */
export function texts(data: Data, field: string): string[] {
  const value = data[field]
  return Array.isArray(value) ? (value as unknown[]).filter((one) => typeof one === 'string') : []
}

/** An object, or null when it is none. */
export function part(data: Data, field: string): Data | null {
  const value = data[field]
  return isData(value) ? value : null
}

function isData(value: unknown): value is Data {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
