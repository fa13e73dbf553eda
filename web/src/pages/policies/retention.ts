// What a policy keeps, in words, and how many backups that is.

export interface Retention {
  keep_last?: number | null
  keep_daily?: number | null
  keep_weekly?: number | null
  keep_monthly?: number | null
  keep_yearly?: number | null
}

const RULES = [
  ['keep_last', 'the last', 'the last one', 0],
  ['keep_daily', 'days', 'a day', 1],
  ['keep_weekly', 'weeks', 'a week', 7],
  ['keep_monthly', 'months', 'a month', 30.44],
  ['keep_yearly', 'years', 'a year', 365.25],
] as const

/** `the last 3, one of each of 7 days and 4 weeks`; `everything` when no rule is given. */
export function retention(policy: Retention): string {
  const last = policy.keep_last ?? 0
  const spans = RULES.slice(1)
    .map(([field, many, one]) => [policy[field] ?? 0, many, one] as const)
    .filter(([number]) => number > 0)
    .map(([number, many, one]) => (number === 1 ? one : `${String(number)} ${many}`))
  const parts: string[] = []
  if (last > 0) parts.push(last === 1 ? 'the last one' : `the last ${String(last)}`)
  if (spans.length > 0) parts.push(`one of each of ${listed(spans)}`)
  if (parts.length > 0) return parts.join(', ')
  return RULES.every(([field]) => policy[field] == null) ? 'everything' : 'nothing beyond the newest'
}

/** How many backups of one VM are kept at most, and for about how many days back. */
export function extent(policy: Retention): { backups: number; days: number } | null {
  const given = RULES.map(([field, , , days]) => [policy[field] ?? 0, days] as const).filter(
    ([number]) => number > 0,
  )
  if (given.length === 0) return null
  return {
    backups: given.reduce((sum, [number]) => sum + number, 0),
    days: Math.round(Math.max(...given.map(([number, days]) => number * days))),
  }
}

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1) ?? ''}`
}
