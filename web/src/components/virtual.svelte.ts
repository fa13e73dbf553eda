// Only the rows that can be seen are in the document, however many there are.
import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  Virtualizer,
  type VirtualItem,
} from '@tanstack/virtual-core'

export interface Window {
  readonly items: VirtualItem[]
  readonly before: number
  readonly after: number
  readonly attach: (element: HTMLElement) => () => void
  scrollTo: (index: number) => void
}

/** Return which of `count()` rows of a height in pixels are to be shown, in a scrolled element. */
export function virtual(count: () => number, height: () => number, overscan = 12): Window {
  let items = $state.raw<VirtualItem[]>([])
  let total = $state(0)
  let element: HTMLElement | null = null

  const virtualizer = new Virtualizer<HTMLElement, HTMLElement>({
    ...options(0),
    getScrollElement: () => null,
  })

  function options(number: number) {
    return {
      count: number,
      estimateSize: height,
      overscan,
      getScrollElement: () => element,
      observeElementRect,
      observeElementOffset,
      scrollToFn: elementScroll,
      initialRect: { width: 800, height: 600 },
      onChange: show,
    }
  }

  function show(): void {
    items = virtualizer.getVirtualItems()
    total = virtualizer.getTotalSize()
  }

  $effect.pre(() => {
    virtualizer.setOptions(options(count()))
    virtualizer.measure()
    virtualizer._willUpdate()
    show()
  })

  return {
    get items() {
      return items
    },
    get before() {
      return items[0]?.start ?? 0
    },
    get after() {
      return total - (items.at(-1)?.end ?? 0)
    },
    attach(found) {
      element = found
      const leave = virtualizer._didMount()
      virtualizer._willUpdate()
      show()
      return leave
    },
    scrollTo(index) {
      virtualizer.scrollToIndex(index)
    },
  }
}
