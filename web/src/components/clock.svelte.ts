// The time, for what is shown relative to it: one timer for the whole page.
class Clock {
  private ticks = $state(0)

  constructor() {
    setInterval(() => {
      this.ticks += 1
    }, 5_000)
  }

  /** The time now; what looks at it is shown anew as it passes. */
  get now(): Date {
    void this.ticks
    return new Date()
  }
}

export const clock = new Clock()
