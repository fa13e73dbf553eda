// What is done with many flows at once: with which it can be done, and why not with the others.
import type { Flow, FlowState } from './state'

export type Verb = 'enable' | 'disable' | 'run' | 'cancel' | 'label' | 'unlabel' | 'delete'

export interface Label {
  key: string
  value: string
}

export interface Plan {
  can: Flow[]
  cannot: [flow: Flow, reason: string][]
}

/** How a verb is called, and what it means for those flows that it is done with. */
export const VERBS: Record<Verb, { text: string; done: string; means: string; danger?: boolean }> = {
  enable: {
    text: 'Enable',
    done: 'enabled',
    means: 'They run by their schedules from now on. What passed meanwhile is not caught up.',
  },
  disable: {
    text: 'Disable',
    done: 'disabled',
    means: 'Nothing starts them by schedule until they are enabled again. What runs goes on.',
  },
  run: { text: 'Run now', done: 'asked to run', means: 'Each begins an execution now, beside its schedule.' },
  cancel: {
    text: 'Cancel what runs',
    done: 'asked to stop',
    means: 'Their executions stop: backups that are done stay, those that run or wait are cancelled.',
    danger: true,
  },
  label: { text: 'Set label', done: 'labelled', means: 'The label is set, in place of another value of it.' },
  unlabel: { text: 'Remove label', done: 'without the label', means: 'The label is taken away.' },
  delete: {
    text: 'Delete',
    done: 'deleted',
    means:
      'The flows and the history of their executions are deleted, and this cannot be undone. What they have backed up stays in the repositories.',
    danger: true,
  },
}

/** Return with which flows it can be done. */
export function plan(
  verb: Verb,
  flows: readonly Flow[],
  state: (flow: Flow) => FlowState,
  label: Label = { key: '', value: '' },
): Plan {
  const found: Plan = { can: [], cannot: [] }
  for (const flow of flows) {
    const reason = against(verb, flow, state(flow), label)
    if (reason === null) found.can.push(flow)
    else found.cannot.push([flow, reason])
  }
  return found
}

function against(verb: Verb, flow: Flow, state: FlowState, { key, value }: Label): string | null {
  const running = state === 'running' || state === 'asked'
  switch (verb) {
    case 'enable':
      return flow.enabled ? 'it is enabled already' : null
    case 'disable':
      return flow.enabled ? null : 'it is disabled already'
    case 'run':
      if (flow.flow_type !== 'backup') return `it is a ${flow.flow_type} flow: only backup flows run`
      return running && flow.overlap_policy === 'skip'
        ? 'it runs already, and its overlap policy is “skip”'
        : null
    case 'cancel':
      return running ? null : 'nothing of it runs'
    case 'label':
      return flow.labels[key] === value ? 'it has the label already' : null
    case 'unlabel':
      return key in flow.labels ? null : 'it has no such label'
    case 'delete':
      return running ? 'it runs: cancel it first' : null
  }
}

/** Return a flow's labels after the verb. */
export function labelled(
  verb: 'label' | 'unlabel',
  flow: Flow,
  { key, value }: Label,
): Record<string, string> {
  const rest = Object.fromEntries(Object.entries(flow.labels).filter(([one]) => one !== key))
  return verb === 'label' ? { ...rest, [key]: value } : rest
}
