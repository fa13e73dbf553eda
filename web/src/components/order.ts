// The order of a table's rows: sorted, and still while somebody points at it.

export type Compare<T> = (a: T, b: T) => number

export interface Sorting {
  key: string
  down: boolean
}

/** Return rows in the order that they had; those that are new come last, in the order given. */
export function kept<T>(rows: readonly T[], before: readonly string[], key: (row: T) => string): T[] {
  const place = new Map(before.map((id, n) => [id, n]))
  return rows
    .map((row, n) => ({ row, at: place.get(key(row)) ?? before.length + n }))
    .sort((a, b) => a.at - b.at)
    .map(({ row }) => row)
}

/** Return rows sorted; equal ones stay in the order given. */
export function sorted<T>(rows: readonly T[], compare: Compare<T> | undefined, down: boolean): T[] {
  if (compare === undefined) return [...rows]
  return [...rows].sort((a, b) => (down ? compare(b, a) : compare(a, b)))
}

/** Compare by what is returned: null comes last, text by the reader's alphabet, with numbers in it as numbers. */
export function by<T>(value: (row: T) => string | number | boolean | null | undefined): Compare<T> {
  return (a, b) => {
    const [x, y] = [value(a), value(b)]
    if (x == null || y == null) return x == null ? (y == null ? 0 : 1) : -1
    if (typeof x === 'string' && typeof y === 'string') return x.localeCompare(y, 'en', { numeric: true })
    return Number(x) - Number(y)
  }
}
