// Events are given on once per animation frame, however many came; to a tab that nobody sees, once a second.

const HIDDEN = 1000 // milliseconds
/** More than this at once nobody can look at: who listens is told to read anew. */
export const MOST = 20_000

export class Frames<T> {
  private waiting: T[] = []
  private overflown = false
  private planned = false

  constructor(private readonly give: (some: T[], overflown: boolean) => void) {}

  add(one: T): void {
    if (this.waiting.length < MOST) this.waiting.push(one)
    else this.overflown = true
    if (this.planned) return
    this.planned = true
    if (document.hidden) setTimeout(this.flush, HIDDEN)
    else requestAnimationFrame(this.flush)
  }

  private readonly flush = (): void => {
    const some = this.waiting
    const overflown = this.overflown
    this.waiting = []
    this.overflown = this.planned = false
    this.give(some, overflown)
  }
}
