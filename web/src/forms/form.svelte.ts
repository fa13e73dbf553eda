// What somebody writes in a form, until it is saved: what is wrong with it, and whether somebody else changed it meanwhile.
import { Problem } from '../api/client'

/** Saves what was written. `overwrite`: also when somebody else has saved something since (no `If-Match`). */
export type Save<T> = (value: T, overwrite: boolean) => Promise<void>

export class Form<T extends object> {
  value = $state() as T
  problem = $state.raw<Problem | null>(null)
  busy = $state(false)
  private began: string

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

  /** What is wrong with a field. */
  of(field: string): string | undefined {
    return this.problem?.of(field)
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
      this.problem = error instanceof Problem ? error : new Problem(0, 'Error', String(error))
      return false
    } finally {
      this.busy = false
    }
  }
}
