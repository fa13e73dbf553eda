// Where in the page one is: the path, and what the address asks for. Links are plain `<a href>`.
import { tick } from 'svelte'
import { SvelteURLSearchParams } from 'svelte/reactivity'

class Router {
  path = $state(location.pathname)
  readonly query = new SvelteURLSearchParams(location.search)

  constructor() {
    addEventListener('popstate', () => {
      this.read()
    })
    document.addEventListener('click', (event) => {
      this.follow(event)
    })
  }

  /** Go to an address of the page. `replace`: it takes the place of this one in the history. */
  go(href: string, { replace = false } = {}): void {
    history[replace ? 'replaceState' : 'pushState'](null, '', href)
    const before = this.path
    this.read()
    if (before !== this.path) {
      scrollTo(0, 0)
      // a dialog that one has chosen it in is gone by then
      void tick().then(() => document.getElementById('main')?.focus({ preventScroll: true }))
    }
  }

  /** Put something into the address that can be shared, or take it out (null, ''), in place. */
  set(name: string, value: string | null): void {
    const next = new SvelteURLSearchParams(location.search)
    if (value === null || value === '') next.delete(name)
    else next.set(name, value)
    const text = next.toString()
    this.go(location.pathname + (text === '' ? '' : `?${text}`), { replace: true })
  }

  private read(): void {
    this.path = location.pathname
    const now = new SvelteURLSearchParams(location.search)
    for (const name of [...this.query.keys()]) if (!now.has(name)) this.query.delete(name)
    for (const [name, value] of now) if (this.query.get(name) !== value) this.query.set(name, value)
  }

  private follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const link = (event.target as Element | null)?.closest('a')
    if (
      link == null ||
      link.origin !== location.origin ||
      link.target !== '' ||
      link.hasAttribute('download')
    )
      return
    if (/^\/(api|schema|health|metrics)(\/|$)/.test(link.pathname)) return
    event.preventDefault()
    this.go(link.pathname + link.search)
  }
}

export const router = new Router()
