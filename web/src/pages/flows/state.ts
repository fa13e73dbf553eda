// How a flow is doing, in one word, and how groups of flows are doing.
import type { Schemas } from '../../api/client'

export type Flow = Schemas['FlowResponse']
/** `asked`: somebody here has just asked for a run. */
export type FlowState =
  'failed' | 'warning' | 'running' | 'asked' | 'cancelled' | 'never' | 'good' | 'disabled'

/** The worst first: this is the order of the table, unless somebody wants another. */
export const STATES: readonly FlowState[] = [
  ...(['failed', 'warning', 'running', 'asked', 'cancelled', 'never', 'good', 'disabled'] as const),
]

/** What each is called, and the tone that `Status` gives it. */
export const NAMES: Record<FlowState, { text: string; state: string }> = {
  failed: { text: 'failed', state: 'failed' },
  warning: { text: 'warning', state: 'warning' },
  running: { text: 'running', state: 'running' },
  asked: { text: 'asked for', state: 'due' },
  cancelled: { text: 'cancelled', state: 'cancelled' },
  never: { text: 'has not run', state: 'pending' },
  good: { text: 'good', state: 'success' },
  disabled: { text: 'disabled', state: 'disabled' },
}

/** Return how a flow is doing. What runs, runs, whether it is enabled or not; what is disabled alarms nobody. */
export function stateOf(flow: Pick<Flow, 'enabled' | 'status'>): FlowState {
  const { last_execution_status: last, last_execution_id: id } = flow.status
  if (last === 'running' || (last === 'pending' && id !== null)) return 'running'
  if (!flow.enabled) return 'disabled'
  if (last === 'error') return 'failed'
  if (last === 'success') return 'good'
  return last === 'pending' ? 'never' : last
}

export function rank(state: FlowState): number {
  return STATES.indexOf(state)
}

/** Of a hundred executions, so many were good; null when there was none. */
export function successRate({ status }: Pick<Flow, 'status'>): number | null {
  const ended = status.successful_executions + status.failed_executions
  return ended === 0 ? null : (100 * status.successful_executions) / ended
}
