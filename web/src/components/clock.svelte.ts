// The time, for what is shown relative to it: one timer for the whole page.
class Clock {
  now = $state.raw(new Date())

  constructor() {
    setInterval(() => {
      this.now = new Date()
    }, 5_000)
  }
}

export const clock = new Clock()
