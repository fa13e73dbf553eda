// From instants to places on the timeline, and back; where nothing runs for long, time may be squeezed. Pure.

/** From one instant to another, in milliseconds. */
export interface Range {
  from: number
  to: number
}

export interface Piece extends Range {
  /** Pixels. */
  x: number
  width: number
  squeezed: boolean
}

export interface Scale {
  pieces: readonly Piece[]
  width: number
  /** Where an instant is, in pixels; also of those before and after what is shown. */
  x: (at: number) => number
  /** Which instant is at a place. */
  at: (x: number) => number
}

const SQUEEZED = 26 // pixels of a gap
const LONG = 30 // a gap is one from this part of what is shown on

/** Return what some ranges cover together, in order; what is at most `gap` apart counts as one. */
export function merged(ranges: Iterable<Range>, gap = 0): Range[] {
  const found: Range[] = []
  for (const one of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = found.at(-1)
    if (last !== undefined && one.from <= last.to + gap) last.to = Math.max(last.to, one.to)
    else found.push({ ...one })
  }
  return found
}

/** Return the scale of what is shown, so many pixels wide. `busy`: squeeze all long gaps between these. */
export function scaled(shown: Range, width: number, busy?: Iterable<Range>): Scale {
  const parts = busy === undefined ? [{ ...shown, squeezed: false }] : parted(shown, busy)
  const gaps = parts.filter((one) => one.squeezed).length
  const narrow = Math.min(SQUEEZED, width / (2 * Math.max(1, gaps)))
  const wide = parts.reduce((sum, one) => sum + (one.squeezed ? 0 : one.to - one.from), 0)
  const pace = (width - gaps * narrow) / Math.max(1, wide) // pixels in a millisecond
  const pieces: Piece[] = []
  let x = 0
  for (const one of parts) {
    const piece = { ...one, x, width: one.squeezed ? narrow : (one.to - one.from) * pace }
    pieces.push(piece)
    x += piece.width
  }
  return { pieces, width, x: (at) => placeOf(pieces, at), at: (place) => instantAt(pieces, place) }
}

/** Return what is shown as parts, in order: those with something in them, and the long gaps between. */
function parted(shown: Range, busy: Iterable<Range>): (Range & { squeezed: boolean })[] {
  const long = (shown.to - shown.from) / LONG
  const seen = [...busy].filter((one) => one.to >= shown.from && one.from <= shown.to)
  const margin = long / 4 // so that what is at the edge of a gap is seen to be
  const some = merged(
    seen.map((one) => ({
      from: Math.max(shown.from, one.from - margin),
      to: Math.min(shown.to, one.to + margin),
    })),
    long,
  )
  if (some.length === 0) return [{ ...shown, squeezed: false }]
  const parts: (Range & { squeezed: boolean })[] = []
  let end = shown.from
  for (const one of some) {
    const gap = one.from - end > long
    if (gap) parts.push({ from: end, to: one.from, squeezed: true })
    parts.push({ from: gap ? one.from : end, to: one.to, squeezed: false })
    end = one.to
  }
  if (shown.to - end > long) parts.push({ from: end, to: shown.to, squeezed: true })
  else parts[parts.length - 1] = { from: parts.at(-1)?.from ?? end, to: shown.to, squeezed: false }
  return parts
}

function placeOf(pieces: readonly Piece[], at: number): number {
  const one = pieces.find((piece) => at < piece.to) ?? pieces.at(-1)
  if (one === undefined || one.to <= one.from) return 0
  return one.x + ((at - one.from) / (one.to - one.from)) * one.width
}

function instantAt(pieces: readonly Piece[], x: number): number {
  const one = pieces.find((piece) => x < piece.x + piece.width) ?? pieces.at(-1)
  if (one === undefined || one.width <= 0) return one?.from ?? 0
  return one.from + ((x - one.x) / one.width) * (one.to - one.from)
}
