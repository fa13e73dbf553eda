// The matrix of VMs and days: its rows, grouped and rolled up, what it says of a day, and how a row is drawn. Pure.
import type { Schemas } from '../../api/client'
import { plural } from '../../format/numbers'

export type State = Schemas['VmDays']['state']

export interface VmRow {
  kind: 'vm'
  key: string
  id: string
  name: string
  state: State
  cells: string
}

export interface GroupRow {
  kind: 'group'
  key: string
  name: string
  number: number
  /** The worst of its VMs. */
  state: State
  cells: string
}

export type Row = VmRow | GroupRow

/** By what rows are grouped: not at all, by protection group, or by the value of a label. */
export type Grouping = 'none' | 'group' | 'label'

/** States of coverage, the worst first. */
export const STATES: readonly State[] = [
  'failing',
  'stale',
  'unprotected',
  'pending',
  'protected',
  'excluded',
]

/** Letters of days, what tells most of several VMs first. */
const LETTERS = 'fmrsk. '

/** Return a letter for each day of several VMs: the one that tells most of any of them. */
export function rollUp(cells: readonly string[]): string {
  const length = Math.max(0, ...cells.map((one) => one.length))
  let text = ''
  for (let day = 0; day < length; day += 1) {
    let best = LETTERS.length - 1
    for (const one of cells) {
      const rank = LETTERS.indexOf(one[day] ?? ' ')
      if (rank >= 0 && rank < best) best = rank
    }
    text += LETTERS[best] ?? ' '
  }
  return text
}

export function worst(states: readonly State[]): State {
  return STATES.find((one) => states.includes(one)) ?? 'excluded'
}

/** Return the rows to show. A VM of several groups stands in each; `closed`: keys of groups that are not opened. */
export function rowsOf(
  found: Pick<Schemas['CoverageDays'], 'vms' | 'groups'>,
  grouping: Grouping,
  closed: ReadonlySet<string>,
): Row[] {
  if (grouping === 'none') return found.vms.map((vm) => vmRow(vm, ''))
  const sections = new Map<string, Schemas['VmDays'][]>()
  for (const vm of found.vms) {
    const names =
      grouping === 'label' ? [vm.label ?? ''] : vm.groups.map((n) => found.groups[n]?.group_name ?? '')
    for (const name of names.length === 0 ? [''] : names) {
      const section = sections.get(name)
      if (section === undefined) sections.set(name, [vm])
      else section.push(vm)
    }
  }
  const names = [...sections.keys()].sort((a, b) =>
    a === '' ? 1 : b === '' ? -1 : a.localeCompare(b, 'en', { numeric: true }),
  )
  return names.flatMap((name) => section(name, sections.get(name) ?? [], grouping, closed))
}

function section(
  name: string,
  vms: readonly Schemas['VmDays'][],
  grouping: Grouping,
  closed: ReadonlySet<string>,
): Row[] {
  const key = `group:${name}`
  const head: GroupRow = {
    kind: 'group',
    key,
    name: name === '' ? (grouping === 'label' ? 'without this label' : 'in no group') : name,
    number: vms.length,
    state: worst(vms.map((vm) => vm.state)),
    cells: rollUp(vms.map((vm) => vm.cells)),
  }
  return closed.has(key) ? [head] : [head, ...vms.map((vm) => vmRow(vm, key))]
}

function vmRow(vm: Schemas['VmDays'], under: string): VmRow {
  return {
    kind: 'vm',
    key: `${under}/${vm.context_id}`,
    id: vm.context_id,
    name: vm.vm_name,
    state: vm.state,
    cells: vm.cells,
  }
}

/** Say of a row how many days are of which kind, and the last that is bad: what one hears who does not see it. */
export function summary(row: Row, days: readonly string[]): string {
  const number = (letters: string): number => [...row.cells].filter((one) => letters.includes(one)).length
  const [good, bad] = [number('sm'), number('fm')]
  const last = Math.max(row.cells.lastIndexOf('f'), row.cells.lastIndexOf('m'))
  const failed =
    bad === 0 ? 'none with a failure' : `${String(bad)} with a failure, last on ${days[last] ?? ''}`
  return `${row.state}; of ${plural(days.length, 'day')} ${String(good)} with a good backup, ${failed}`
}

/** Size of a cell's square and of the place that it has, in pixels. */
export const CELL = { width: 10, height: 22, square: 8, top: 7 }

/** Return the paths that draw a row, by letter: squares, and on those of bad days what tells them apart without colour. */
export function pathsOf(cells: string): [letter: string, path: string][] {
  const found = new Map<string, string>()
  const { square, top, width } = CELL
  for (let day = 0; day < cells.length; day += 1) {
    const letter = cells[day] ?? ' '
    if (letter === ' ') continue
    const x = day * width + 1
    found.set(letter, (found.get(letter) ?? '') + shape(letter, x, top, square))
  }
  return [...found]
}

function shape(letter: string, x: number, y: number, size: number): string {
  const at = (dx: number, dy: number): string => `${String(x + dx)} ${String(y + dy)}`
  const half = size / 2
  switch (letter) {
    case 's':
      return `M${at(0, 0)}h${String(size)}v${String(size)}h-${String(size)}z`
    case 'f': // a cross
      return `M${at(0, 1)}L${at(1, 0)}L${at(half, half - 1)}L${at(size - 1, 0)}L${at(size, 1)}L${at(half + 1, half)}L${at(size, size - 1)}L${at(size - 1, size)}L${at(half, half + 1)}L${at(1, size)}L${at(0, size - 1)}L${at(half - 1, half)}z`
    case 'm': // a triangle
      return `M${at(half, 0)}L${at(size, size)}L${at(0, size)}z`
    case 'r': // a triangle to the right
      return `M${at(1, 0)}L${at(size, half)}L${at(1, size)}z`
    case 'k': // a bar
      return `M${at(0, half - 1)}h${String(size)}v2h-${String(size)}z`
    default: // a dot
      return `M${at(half - 1, half - 1)}h2v2h-2z`
  }
}

/** Return the first day of each month that is shown: where it stands, and what it is called. */
export function months(days: readonly string[]): { at: number; name: string }[] {
  const format = new Intl.DateTimeFormat('en-GB', { month: 'short', timeZone: 'UTC' })
  return days.flatMap((day, at) => {
    const begins = at === 0 ? Number(day.slice(8)) <= 24 : day.endsWith('-01')
    return begins ? [{ at, name: format.format(new Date(`${day}T00:00:00Z`)) }] : []
  })
}
