// Labels, as people write them: `site=north, tier=gold`.
import { Problem } from '../api/client'

/** Return labels as they are written. */
export function written(labels: Record<string, string> | null | undefined): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(', ')
}

/** Return the labels that are written; throws a `Problem` at `field` when one has no `=`. */
export function parsed(text: string, field: string): Record<string, string> {
  const labels: Record<string, string> = {}
  for (const one of listed(text)) {
    const at = one.indexOf('=')
    if (at < 1)
      throw new Problem(422, 'Not understood', 'A label has a name and a value.', [
        { field, message: `“${one}” has no value: write name=value, with commas between labels` },
      ])
    labels[one.slice(0, at).trim()] = one.slice(at + 1).trim()
  }
  return labels
}

/** Return what stands between commas or on lines of its own, without what is empty or there twice. */
export function listed(text: string): string[] {
  return [...new Set(text.split(/[,;\n]/).map((one) => one.trim()))].filter((one) => one !== '')
}
