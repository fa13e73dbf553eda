// VMs by days, as the address and what is typed ask for them: read beside the overview, not after it.
import { client, unwrap, type Schemas } from '../../api/client'
import { STATES, type Grouping, type State } from '../../components/matrix/days'
import { ZONE } from '../../format/time'
import { query, type Query } from '../../query/query.svelte'
import { router } from '../../routing/router.svelte'

export const DAYS = 90

export class AskedDays {
  /** A part of the names of VMs. */
  text = $state('')

  readonly found: Query<Schemas['CoverageDays']> = query(
    (signal) => {
      const wanted = {
        ...(this.text === '' ? {} : { q: this.text }),
        ...(this.key === '' ? {} : { by: this.key }),
        ...(this.state === null ? {} : { state: this.state }),
      }
      const params = { query: { days: DAYS, timezone: ZONE, limit: 1000, ...wanted } }
      return unwrap(client.GET('/api/v1/coverage/days', { params, signal }))
    },
    { on: ['flow.completed', 'catalog.vm', 'catalog.group'] },
  )

  /** What the address says: `group`, or `label:` and a key. */
  get by(): string {
    return router.query.get('by') ?? ''
  }
  get grouping(): Grouping {
    return this.by === '' ? 'none' : this.by === 'group' ? 'group' : 'label'
  }
  get state(): State | null {
    return STATES.find((one) => one === router.query.get('state')) ?? null
  }
  private get key(): string {
    return this.by.startsWith('label:') ? this.by.slice(6) : ''
  }
}
