// Addresses of the page with what they ask for.

/** Return an address that asks for the same, but for one thing; null: not for that. */
export function asking(
  path: string,
  query: Iterable<[string, string]>,
  name: string,
  value: string | null,
): string {
  const next = new URLSearchParams([...query])
  if (value === null || value === '') next.delete(name)
  else next.set(name, value)
  const text = next.toString()
  return text === '' ? path : `${path}?${text}`
}
