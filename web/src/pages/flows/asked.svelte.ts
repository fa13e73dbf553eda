// Runs that were asked for here: shown at once, then as the log says, until the tables have them.
import { SvelteMap } from 'svelte/reactivity'

import { client, unwrap } from '../../api/client'
import { toasts } from '../../components/toasts.svelte'
import { live } from '../../live/live.svelte'
import { stateOf, type Flow, type FlowState } from './state'

interface Run {
  state: 'asked' | 'running'
  /** The last execution that the tables had before. */
  before: string | null
}

const FORGOTTEN = 60_000 // milliseconds: what has not come until then is not shown any more

class Asked {
  private readonly runs = new SvelteMap<string, Run>()

  /** How a flow is doing, with what was asked for here. */
  stateOf(flow: Flow): FlowState {
    const run = this.runs.get(flow.id)
    return run === undefined || run.before !== flow.status.last_execution_id ? stateOf(flow) : run.state
  }

  /** Run a flow now. Throws `Problem` when it is refused. */
  async start(flow: Flow): Promise<void> {
    const run: Run = { state: 'asked', before: flow.status.last_execution_id }
    this.runs.set(flow.id, run)
    setTimeout(() => {
      this.runs.delete(flow.id)
    }, FORGOTTEN)
    try {
      const params = { path: { flow_id: flow.id } }
      await unwrap(client.POST('/api/v1/protection-flows/{flow_id}/execute', { params }))
    } catch (error) {
      this.runs.delete(flow.id)
      throw error
    }
  }

  /** Run a flow now, and say why not when it is refused. */
  async run(flow: Flow): Promise<void> {
    try {
      await this.start(flow)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      toasts.say(`${flow.name} was not started: ${why}`, { bad: true })
    }
  }

  /** Take what the log says into account, until what is returned is called. */
  follow(): () => void {
    return live.on((events) => {
      for (const { type, subject } of events) {
        const run = type === 'flow.started' ? this.runs.get(subject) : undefined
        if (run !== undefined) this.runs.set(subject, { ...run, state: 'running' })
      }
    })
  }
}

export const asked = new Asked()
