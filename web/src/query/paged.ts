// Lists that are longer than one page of the API: the pages are read beside each other.

export const PAGE = 500 // the most that a page has

/**
 * Return all of a list. `page` reads so many from an offset on, `size` at most; what is on two pages, as the list grows,
 * counts once.
 */
export async function paged<T>(
  page: (query: { limit: number; offset: number }) => Promise<{ total: number; items: T[] }>,
  key: (one: T) => string,
  size = PAGE,
): Promise<T[]> {
  const first = await page({ limit: size, offset: 0 })
  const offsets = Array.from(
    { length: Math.max(0, Math.ceil(first.total / size) - 1) },
    (_, n) => (n + 1) * size,
  )
  const rest = await Promise.all(offsets.map((offset) => page({ limit: size, offset })))
  return [
    ...new Map(
      [first, ...rest].flatMap(({ items }) => items.map((one) => [key(one), one] as const)),
    ).values(),
  ]
}
