// The occurrences of a flow: those that passed, with what became of them, and those to come. Pure.
import type { Schemas } from '../../api/client'

export type Occurrence = Schemas['OccurrenceOutcome']

/** What each outcome is called, and which state that is. */
const NAMES: Record<Occurrence['outcome'], [state: string, text: string]> = {
  executed: ['executed', 'executed'],
  skipped: ['skipped', 'skipped'],
  missed: ['missed', 'missed'],
  due: ['due', 'due now'],
  expected: ['expected', 'expected'],
  frozen: ['frozen', 'held by the freeze'],
  excluded: ['excluded', 'excluded by the schedule'],
}

/** Return what became of an occurrence: of one that was executed, how its execution stands. */
export function outcome({ outcome, status }: Pick<Occurrence, 'outcome' | 'status'>): {
  state: string
  text: string
} {
  if (outcome === 'executed' && status != null) return { state: status, text: status }
  const [state, text] = NAMES[outcome]
  return { state, text }
}

/** Return the occurrences to come, the next one first, and those that passed, the last one first. */
export function apart(all: readonly Occurrence[], now: Date): { coming: Occurrence[]; passed: Occurrence[] } {
  const over = (one: Occurrence): boolean => Date.parse(one.fires_at ?? one.occurrence) <= now.getTime()
  return { coming: all.filter((one) => !over(one)), passed: all.filter(over).reverse() }
}

/** Of how many occurrences that passed there was no execution. */
export function unexecuted(passed: readonly Occurrence[]): number {
  return passed
    .filter((one) => one.outcome === 'missed' || one.outcome === 'skipped')
    .reduce((sum, one) => sum + one.count, 0)
}
