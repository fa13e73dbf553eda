// Short news about what was just done; some can be undone.
export interface Toast {
  id: number
  text: string
  bad: boolean
  undo?: () => void
}

const STAYS = 6_000 // milliseconds

class Toasts {
  all = $state<Toast[]>([])
  private next = 0

  /** Say that something was done. What is bad stays until it is closed. */
  say(text: string, { bad = false, undo }: { bad?: boolean; undo?: () => void } = {}): void {
    const id = (this.next += 1)
    this.all.push({ id, text, bad, ...(undo === undefined ? {} : { undo }) })
    if (!bad)
      setTimeout(
        () => {
          this.close(id)
        },
        undo === undefined ? STAYS : 2 * STAYS,
      )
  }

  /** Say why something was not done. */
  fail(error: unknown): void {
    this.say(error instanceof Error ? error.message : String(error), { bad: true })
  }

  /** Do something, and say that it was done, or why not; return whether it was. */
  async attempt(act: () => Promise<unknown>, said: string, undo?: () => void): Promise<boolean> {
    try {
      await act()
    } catch (error) {
      this.fail(error)
      return false
    }
    this.say(said, undo === undefined ? {} : { undo })
    return true
  }

  close(id: number): void {
    this.all = this.all.filter((one) => one.id !== id)
  }
}

export const toasts = new Toasts()
