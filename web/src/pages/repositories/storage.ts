// What a repository's storage did and will do, in words.
import type { Schemas } from '../../api/client'
import { bytes, plural } from '../../format/numbers'

/** Return what the history of a repository shows, and when it is full. */
export function growth(history: Schemas['StorageHistory']): string {
  const { stored_bytes, backup_count, bytes_per_day, free_bytes, full_on } = history
  const now = `${plural(backup_count, 'backup')} with ${bytes(stored_bytes)}`
  if (bytes_per_day === null) return `${now}; too few days have passed to say how it grows.`
  const grows =
    bytes_per_day > 0
      ? `growing by ${bytes(bytes_per_day)} a day`
      : bytes_per_day < 0
        ? `shrinking by ${bytes(-bytes_per_day)} a day`
        : 'not growing'
  if (full_on !== null) return `${now}, ${grows}: it is full on ${full_on} if that goes on.`
  const room =
    free_bytes === null ? 'how much room there is, is not known' : 'it does not fill up in ten years'
  return `${now}, ${grows}; ${room}.`
}
