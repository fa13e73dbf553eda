// What range the timeline shows; it stands in the address, so that it can be shared.
import { clock } from '../../components/clock.svelte'
import { router } from '../../routing/router.svelte'
import { HOUR, LONGEST, moved, range, SHORTEST, USUAL, zoomed, type Shown } from './span'

const SOON = 300 // milliseconds: the address follows when one has stopped moving

export class ShownRange {
  shown = $state.raw<Shown>(fromAddress())

  /** Follow it in the address; returns what ends that. */
  follow(): () => void {
    const { span, at } = this.shown
    const timer = setTimeout(() => {
      router.set('span', span === USUAL ? null : String(Math.round((span / HOUR) * 100) / 100))
      router.set('at', at === null ? null : new Date(at).toISOString().slice(0, 19) + 'Z')
    }, SOON)
    return () => {
      clearTimeout(timer)
    }
  }

  get range() {
    return range(this.shown, clock.now.getTime())
  }

  zoom(factor: number, around: number | null = null): void {
    this.shown = zoomed(this.shown, factor, clock.now.getTime(), around)
  }

  move(by: number): void {
    this.shown = moved(this.shown, by, clock.now.getTime())
  }

  /** By a part of what is shown: negative towards the past. */
  step(part: number): void {
    this.move(this.shown.span * part)
  }

  now(): void {
    this.shown = { ...this.shown, at: null }
  }

  last(span: number): void {
    this.shown = { span, at: null }
  }
}

function fromAddress(): Shown {
  const hours = Number(router.query.get('span') ?? NaN)
  const at = Date.parse(router.query.get('at') ?? '')
  const span = Number.isFinite(hours) ? Math.min(LONGEST, Math.max(SHORTEST, hours * HOUR)) : USUAL
  return { span, at: Number.isNaN(at) ? null : at }
}
