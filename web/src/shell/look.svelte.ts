// Light or dark: as the device has it, or as somebody has chosen in this browser.
export type Look = 'device' | 'light' | 'dark'

const NAME = 'flows-look'

class Chosen {
  look = $state<Look>('device')

  constructor() {
    let kept: string | null = null
    try {
      kept = localStorage.getItem(NAME)
    } catch {
      // a browser that keeps nothing: as the device has it
    }
    if (kept === 'light' || kept === 'dark') this.show(kept)
  }

  choose(look: Look): void {
    this.show(look)
    try {
      if (look === 'device') localStorage.removeItem(NAME)
      else localStorage.setItem(NAME, look)
    } catch {
      // it lasts for as long as the tab
    }
  }

  private show(look: Look): void {
    this.look = look
    document.documentElement.dataset.look = look
  }
}

export const chosen = new Chosen()
