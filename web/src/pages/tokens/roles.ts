// What each role may do.
import type { Role } from '../../session/session.svelte'

export const ROLES: readonly { role: Role; text: string }[] = [
  { role: 'viewer', text: 'sees everything, and changes nothing' },
  { role: 'operator', text: 'also runs, cancels and retries backups, and switches on and off what is there' },
  { role: 'admin', text: 'also defines what is backed up and how, and who may do what' },
]

/** What can be done, and the least role that may. */
export const ABILITIES: readonly (readonly [string, Role])[] = [
  ['See flows, backups, VMs, the log and the audit', 'viewer'],
  ['Run, cancel, retry and backfill flows; back up a VM now', 'operator'],
  ['Enable and disable flows, VMs, groups, schedules, repositories and policies', 'operator'],
  ['Freeze everything, and lift the freeze', 'operator'],
  [
    'Create, change and delete flows, VMs, groups, schedules, repositories, policies and notifications',
    'admin',
  ],
  ['Change the settings; enrol and revoke workers', 'admin'],
  ['Make and revoke tokens', 'admin'],
]

const RANK: readonly Role[] = ['viewer', 'operator', 'admin']

/** Tell whether a role may do what needs another one at least. */
export function reaches(role: Role, least: Role): boolean {
  return RANK.indexOf(role) >= RANK.indexOf(least)
}
