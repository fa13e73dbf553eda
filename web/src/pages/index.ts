// All pages: the shape of their paths, what they are called, and where they stand in the navigation. Each is loaded when
// it is first gone to. Parameters of the path are the page's properties.
import type { Component } from 'svelte'

import type { Role } from '../session/session.svelte'

export interface Place {
  shape: string
  title: string
  /** Its part of the navigation; a page without one is reached from others. */
  part?: 'Now' | 'Protection' | 'Definitions' | 'Engine'
  role?: Role
  /** Only for those who may see everything. */
  unscoped?: boolean
  load: () => Promise<{ default: Component<Record<string, string>> }>
}

function page(load: () => Promise<{ default: unknown }>): Place['load'] {
  return load as Place['load']
}

export const PLACES: readonly Place[] = [
  { shape: '/', title: 'Overview', part: 'Now', load: page(() => import('./overview/Overview.svelte')) },
  {
    shape: '/timeline',
    title: 'Timeline',
    part: 'Now',
    load: page(() => import('./timeline/Timeline.svelte')),
  },
  {
    shape: '/executions',
    title: 'Executions',
    part: 'Now',
    load: page(() => import('./executions/Executions.svelte')),
  },
  {
    shape: '/executions/{id}',
    title: 'Execution',
    load: page(() => import('./executions/Execution.svelte')),
  },
  { shape: '/flows', title: 'Flows', part: 'Protection', load: page(() => import('./flows/Flows.svelte')) },
  { shape: '/flows/{id}', title: 'Flow', load: page(() => import('./flow/Flow.svelte')) },
  { shape: '/vms', title: 'VMs', part: 'Protection', load: page(() => import('./vms/Vms.svelte')) },
  { shape: '/vms/{id}', title: 'VM', load: page(() => import('./vms/Vm.svelte')) },
  {
    shape: '/groups',
    title: 'Groups',
    part: 'Protection',
    load: page(() => import('./groups/Groups.svelte')),
  },
  { shape: '/groups/{id}', title: 'Group', load: page(() => import('./groups/Group.svelte')) },
  {
    shape: '/backups',
    title: 'Backups',
    part: 'Protection',
    load: page(() => import('./backups/Backups.svelte')),
  },
  {
    shape: '/schedules',
    title: 'Schedules',
    part: 'Definitions',
    load: page(() => import('./schedules/Schedules.svelte')),
  },
  {
    shape: '/repositories',
    title: 'Repositories',
    part: 'Definitions',
    load: page(() => import('./repositories/Repositories.svelte')),
  },
  {
    shape: '/repositories/{id}',
    title: 'Repository',
    load: page(() => import('./repositories/Repository.svelte')),
  },
  {
    shape: '/policies',
    title: 'Policies',
    part: 'Definitions',
    load: page(() => import('./policies/Policies.svelte')),
  },
  {
    shape: '/notifications',
    title: 'Notifications',
    part: 'Definitions',
    unscoped: true,
    load: page(() => import('./notifications/Notifications.svelte')),
  },
  {
    shape: '/workers',
    title: 'Workers',
    part: 'Engine',
    unscoped: true,
    load: page(() => import('./workers/Workers.svelte')),
  },
  { shape: '/log', title: 'Log', part: 'Engine', load: page(() => import('./log/LogPage.svelte')) },
  { shape: '/audit', title: 'Audit', part: 'Engine', load: page(() => import('./audit/Audit.svelte')) },
  {
    shape: '/tokens',
    title: 'Tokens',
    part: 'Engine',
    role: 'admin',
    unscoped: true,
    load: page(() => import('./tokens/Tokens.svelte')),
  },
  {
    shape: '/settings',
    title: 'Settings',
    part: 'Engine',
    load: page(() => import('./settings/Settings.svelte')),
  },
]
