// Restore points: the backups that something can be restored from, and how they are shown by VM. Pure.
import type { Schemas } from '../api/client'

export type Backup = Schemas['ListedBackup']

export interface OfVm {
  id: string
  name: string
  /** The newest first. */
  backups: Backup[]
  bytes: number
}

/** When a backup is from: what it holds is as it was when it began. */
export function madeAt(one: Backup): string {
  return one.started_at ?? one.created_at
}

/** Seconds that a backup took; null while it has not ended, or when it never began. */
export function took(one: Pick<Backup, 'started_at' | 'completed_at'>): number | null {
  if (one.started_at === null || one.completed_at === null) return null
  return Math.max(0, (Date.parse(one.completed_at) - Date.parse(one.started_at)) / 1000)
}

/** Return backups by VM; the VM with the newest comes first, and of each the newest. */
export function byVm(backups: readonly Backup[]): OfVm[] {
  const found = new Map<string, OfVm>()
  for (const one of [...backups].sort((a, b) => Date.parse(madeAt(b)) - Date.parse(madeAt(a)))) {
    const of = found.get(one.context_id)
    const size = one.result === 'success' ? one.bytes_transferred : 0
    if (of === undefined)
      found.set(one.context_id, { id: one.context_id, name: one.vm_name, backups: [one], bytes: size })
    else {
      of.backups.push(one)
      of.bytes += size
    }
  }
  return [...found.values()]
}

export type Outcome = 'completed' | 'error' | 'running' | 'skipped' | 'cancelled' | 'all'

export const OUTCOMES: readonly { value: Outcome; text: string }[] = [
  { value: 'completed', text: 'Restore points' },
  { value: 'error', text: 'Failed' },
  { value: 'running', text: 'Running or waiting' },
  { value: 'skipped', text: 'Skipped' },
  { value: 'cancelled', text: 'Cancelled' },
  { value: 'all', text: 'All backups' },
]

/** Return what the address asks for; restore points when it does not say. */
export function outcomeOf(text: string | null): Outcome {
  if (text === 'failed') return 'error'
  return OUTCOMES.find((one) => one.value === text)?.value ?? 'completed'
}
