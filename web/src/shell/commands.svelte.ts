// What the command palette offers beside the pages: each page adds what can be done there, for as long as it is shown.
export interface Command {
  text: string
  hint?: string
  act: () => void
}

class Commands {
  offered = $state.raw<readonly (() => readonly Command[])[]>([])

  /** Offer commands while a component is there: call it while it is set up. */
  offer(some: () => readonly Command[]): void {
    $effect(() => {
      this.offered = [...this.offered, some]
      return () => {
        this.offered = this.offered.filter((one) => one !== some)
      }
    })
  }

  get all(): Command[] {
    return this.offered.flatMap((some) => some())
  }
}

export const commands = new Commands()
