// What somebody writes in a form, until it is saved: what is wrong with it, and whether somebody else changed it meanwhile.
import { Problem, within } from '../api/client'

/** Saves what was written. `overwrite`: also when somebody else has saved something since (no `If-Match`). */
export type Save<T> = (value: T, overwrite: boolean) => Promise<void>

export class Form<T extends object> {
  value = $state() as T
  problem = $state.raw<Problem | null>(null)
  busy = $state(false)
  private began: string
  private readonly placed = new Set<string>() // fields that say themselves what is wrong with them

  constructor(
    value: T,
    private readonly save: Save<T>,
  ) {
    this.value = value
    this.began = JSON.stringify(value)
  }

  get changed(): boolean {
    return JSON.stringify(this.value) !== this.began
  }

  /** Whether somebody else has saved another version since this form was opened. */
  get overtaken(): boolean {
    return this.problem?.status === 412
  }

  /** What is wrong with a field, to be said there. */
  of(field: string): string | undefined {
    this.placed.add(field)
    return this.problem?.of(field)
  }

  /** What is wrong, but for what is said at a field; null when nothing is left. Ask once the fields are there. */
  get elsewhere(): Problem | null {
    const problem = this.problem
    if (problem === null || problem.errors.length === 0) return problem
    const left = problem.errors.filter((one) => ![...this.placed].some((field) => within(one.field, field)))
    return left.length === 0 ? null : new Problem(problem.status, problem.title, problem.message, left)
  }

  /** Begin anew with what somebody else has saved. */
  restart(value: T): void {
    this.value = value
    this.began = JSON.stringify(value)
    this.problem = null
  }

  /** Save; return whether it was. */
  async submit(overwrite = false): Promise<boolean> {
    this.busy = true
    this.problem = null
    try {
      await this.save($state.snapshot(this.value) as T, overwrite)
      this.began = JSON.stringify(this.value)
      return true
    } catch (error) {
      this.placed.clear() // those that are there now say so when they look at the problem
      this.problem = error instanceof Problem ? error : new Problem(0, 'Error', String(error))
      return false
    } finally {
      this.busy = false
    }
  }
}
