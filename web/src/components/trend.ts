// What took how long, or how much, one after the other: how each is drawn, and which are unusual. Pure.
import { outlier, usual, type Outlier, type Usual } from './outliers'

export interface Measured {
  id: string
  /** Null: it is not known, or not yet. */
  value: number | null
  /** Of what it is one: only those of a kind are compared. Null: it has no say in what is usual, and is not judged. */
  kind: string | null
}

export interface Bar {
  id: string
  value: number | null
  /** From 0 to 1, of the top. */
  height: number
  unusual: Outlier | null
}

export interface Trend {
  bars: Bar[]
  /** The largest value, and some room above it for what would still be usual. */
  top: number
  /** Between what values those are usual of which there are most; null while there are too few. */
  band: Usual | null
}

const ROOM = 1.2

/** Return how some are drawn, the oldest first as they are given. */
export function trend(some: readonly Measured[]): Trend {
  const kinds = new Map<string, number[]>()
  for (const { kind, value } of some)
    if (kind !== null && value !== null) kinds.set(kind, [...(kinds.get(kind) ?? []), value])
  const bands = new Map([...kinds].map(([kind, values]) => [kind, usual(values)]))
  const [most] = [...kinds].sort(([, a], [, b]) => b.length - a.length)
  const band = most === undefined ? null : (bands.get(most[0]) ?? null)
  const largest = Math.max(0, ...some.map((one) => one.value ?? 0))
  const top = Math.max(largest, Math.min(band?.high ?? 0, ROOM * largest))
  const bars = some.map(({ id, value, kind }) => ({
    id,
    value,
    height: value === null || top === 0 ? 0 : value / top,
    unusual: value === null || kind === null ? null : outlier(value, bands.get(kind) ?? null),
  }))
  return { bars, top, band }
}

/** Say what is to be seen. `words`: what low and high ones are. */
export function told(
  { bars, band }: Trend,
  format: (value: number) => string,
  words: Record<Outlier, string>,
): string {
  const number = (which: Outlier): number => bars.filter((one) => one.unusual === which).length
  if (band === null) return 'Too few yet to say what is usual.'
  const odd = (['high', 'low'] as const)
    .filter((which) => number(which) > 0)
    .map((which) => `${String(number(which))} ${words[which]}`)
  const what = odd.length === 0 ? 'none is unusual' : odd.join(', ')
  return `Usually ${format(band.median)}; of the last ${String(bars.length)}, ${what}.`
}
