// What a list is asked for stands in the address, so that it can be shared: what is found, how it is sorted, its filters.
import { router } from '../routing/router.svelte'
import type { Sorting } from './order'

class Listing {
  get find(): string {
    return router.query.get('q') ?? ''
  }
  set find(text: string) {
    router.set('q', text)
  }

  get sorting(): Sorting | undefined {
    const text = router.query.get('sort')
    if (text === null) return undefined
    const down = text.startsWith('-')
    return { key: down ? text.slice(1) : text, down }
  }
  set sorting(next: Sorting | undefined) {
    router.set('sort', next === undefined ? null : `${next.down ? '-' : ''}${next.key}`)
  }

  /** Tell whether one of some texts has what is looked for in it. */
  has(...texts: (string | null | undefined)[]): boolean {
    const wanted = this.find.toLowerCase().trim()
    return wanted === '' || texts.some((one) => one?.toLowerCase().includes(wanted) === true)
  }

  /** Return a filter in the address; '' when there is none. */
  filter(name: string): string {
    return router.query.get(name) ?? ''
  }
}

export const listing = new Listing()
