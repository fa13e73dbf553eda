// What things on the log are called. The log tells most of it itself; the lists tell what was before it.
import { SvelteMap } from 'svelte/reactivity'

import { client, unwrap } from '../api/client'
import type { LogEvent } from '../live/events'
import { list, part, text } from './reading'
import type { Names } from './sentences'

const MOST = 500

class KnownNames implements Names {
  private readonly flows = new SvelteMap<string, string>()
  private readonly vms = new SvelteMap<string, string>()
  private loaded = false

  flow(id: string): string | undefined {
    return this.flows.get(id)
  }

  vm(id: string): string | undefined {
    return this.vms.get(id)
  }

  /** Return the ids of the flows that are called so. */
  flowsCalled(name: string): string[] {
    return [...this.flows].filter(([, known]) => known === name).map(([id]) => id)
  }

  /** Read the names of flows and VMs, once. What cannot be read is told by its id. */
  async load(): Promise<void> {
    if (this.loaded) return
    this.loaded = true
    try {
      const query = { limit: MOST }
      const [flows, vms] = await Promise.all([
        unwrap(client.GET('/api/v1/protection-flows', { params: { query } })),
        unwrap(client.GET('/api/v1/vm-contexts', { params: { query } })),
      ])
      for (const one of flows.flows) this.flows.set(one.id, one.name)
      for (const one of vms.vm_contexts) this.vms.set(one.context_id, one.vm_name)
    } catch {
      this.loaded = false
    }
  }

  /** Take the names of VMs: ids, each with its name. */
  vmsAre(some: Iterable<readonly [id: string, name: string]>): void {
    for (const [id, name] of some) this.note(this.vms, id, name)
  }

  /** Take the names from events. */
  learn(events: readonly LogEvent[]): void {
    for (const { type, subject, data } of events) {
      if (type === 'flow.started' || type === 'flow.buffered')
        this.note(this.flows, text(data, 'flow_id'), text(data, 'flow_name'))
      else if (type === 'backup.requested')
        this.note(this.vms, text(data, 'context_id'), text(data, 'vm_name'))
      else if (type === 'flow.planned')
        for (const one of list(data, 'backups'))
          this.note(this.vms, text(one, 'context_id'), text(one, 'vm_name'))
      else if (type === 'catalog.flow')
        this.note(this.flows, subject, text(part(data, 'definition') ?? {}, 'name'))
      else if (type === 'catalog.vm')
        this.note(this.vms, subject, text(part(data, 'definition') ?? {}, 'vm_name'))
    }
  }

  private note(names: SvelteMap<string, string>, id: string, name: string): void {
    if (id !== '' && name !== '' && names.get(id) !== name) names.set(id, name)
  }
}

export const names = new KnownNames()
