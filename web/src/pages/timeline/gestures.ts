// Moving and zooming with a mouse, a touchpad or fingers.
import type { Attachment } from 'svelte/attachments'

export interface Gestures {
  /** From one place to another, in pixels of the element that has `data-plot`. */
  drag: (from: number, to: number) => void
  /** `factor` times as long, around a place. */
  zoom: (factor: number, x: number) => void
}

const BEGINS = 4 // pixels: less is a click
const PACE = 0.002 // of a turn of the wheel

export function gestures({ drag, zoom }: Gestures): Attachment<HTMLElement> {
  return (element) => {
    const pointers = new Map<number, number>()
    let began: number | null = null
    let dragged = false

    const left = (): number => element.querySelector('[data-plot]')?.getBoundingClientRect().left ?? 0

    const down = (event: PointerEvent): void => {
      if (event.button !== 0 || (event.target as Element).closest('[data-plot]') === null) return
      pointers.set(event.pointerId, event.clientX)
      began = event.clientX
      dragged = false
    }
    const move = (event: PointerEvent): void => {
      const before = pointers.get(event.pointerId)
      if (before === undefined || began === null) return
      if (!dragged && pointers.size === 1 && Math.abs(event.clientX - began) < BEGINS) return
      if (!dragged) element.setPointerCapture(event.pointerId)
      dragged = true
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1]
      pointers.set(event.pointerId, event.clientX)
      if (other === undefined) drag(before - left(), event.clientX - left())
      else {
        const wide = Math.max(1, Math.abs(event.clientX - other))
        zoom(Math.abs(before - other) / wide || 1, (event.clientX + other) / 2 - left())
      }
    }
    const up = (event: PointerEvent): void => {
      pointers.delete(event.pointerId)
    }
    const click = (event: MouseEvent): void => {
      if (!dragged) return
      dragged = false
      event.preventDefault()
      event.stopPropagation()
    }
    const wheel = (event: WheelEvent): void => {
      const across = event.shiftKey ? event.deltaY : event.deltaX
      if (event.ctrlKey) zoom(Math.exp(event.deltaY * PACE), event.clientX - left())
      else if (Math.abs(across) > Math.abs(event.shiftKey ? 0 : event.deltaY)) drag(across, 0)
      else return // rows are scrolled
      event.preventDefault()
    }
    const stay = (event: Event): void => {
      event.preventDefault() // a link is not dragged away
    }

    const all: [string, (event: never) => void, AddEventListenerOptions?][] = [
      ['pointerdown', down],
      ['pointermove', move],
      ['pointerup', up],
      ['pointercancel', up],
      ['click', click, { capture: true }],
      ['wheel', wheel, { passive: false }],
      ['dragstart', stay],
    ]
    for (const [type, act, options] of all) element.addEventListener(type, act as EventListener, options)
    return () => {
      for (const [type, act, options] of all) element.removeEventListener(type, act as EventListener, options)
    }
  }
}
