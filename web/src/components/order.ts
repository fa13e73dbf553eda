// The order of a table's rows: sorted, and still while somebody points at it.

export type Compare<T> = (a: T, b: T) => number

export interface Sorting {
  key: string
  down: boolean
}

/** Rows that stand below another one: which group a row is in, and whether it is the head of it. */
export interface Grouping<T> {
  of: (row: T) => string
  head: (row: T) => boolean
}

/** Return rows in the order that they had; those that are new come last, of their group if there are any. */
export function kept<T>(
  rows: readonly T[],
  before: readonly string[],
  key: (row: T) => string,
  grouping?: Grouping<T>,
): T[] {
  if (grouping !== undefined) {
    const groups = grouped(rows, grouping)
    const heads = new Map(groups.map((some) => [some[0] === undefined ? '' : key(some[0]), some] as const))
    return kept([...heads.keys()], before, (id) => id).flatMap((id) => kept(heads.get(id) ?? [], before, key))
  }
  const place = new Map(before.map((id, n) => [id, n]))
  return rows
    .map((row, n) => ({ row, at: place.get(key(row)) ?? before.length + n }))
    .sort((a, b) => a.at - b.at)
    .map(({ row }) => row)
}

/** Return rows sorted, those of a group below its head; equal ones, and groups, stay in the order given. */
export function sorted<T>(
  rows: readonly T[],
  compare: Compare<T> | undefined,
  down: boolean,
  grouping?: Grouping<T>,
): T[] {
  if (grouping !== undefined)
    return grouped(rows, grouping).flatMap((some) => [
      ...some.filter((row) => grouping.head(row)),
      ...sorted(
        some.filter((row) => !grouping.head(row)),
        compare,
        down,
      ),
    ])
  if (compare === undefined) return [...rows]
  return [...rows].sort((a, b) => (down ? compare(b, a) : compare(a, b)))
}

function grouped<T>(rows: readonly T[], grouping: Grouping<T>): T[][] {
  const found = new Map<string, T[]>()
  for (const row of rows) {
    const group = found.get(grouping.of(row))
    if (group === undefined) found.set(grouping.of(row), [row])
    else group.push(row)
  }
  return [...found.values()]
}

const ALPHABET = new Intl.Collator('en', { numeric: true }) // once: to make one costs more than to compare

/** Compare by what is returned: null comes last, text by the reader's alphabet, with numbers in it as numbers. */
export function by<T>(value: (row: T) => string | number | boolean | null | undefined): Compare<T> {
  return (a, b) => {
    const [x, y] = [value(a), value(b)]
    if (x == null || y == null) return x == null ? (y == null ? 0 : 1) : -1
    if (typeof x === 'string' && typeof y === 'string') return ALPHABET.compare(x, y)
    return Number(x) - Number(y)
  }
}
