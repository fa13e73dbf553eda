// The list of executions as it goes: its beginning is read anew when something happens, its end as one scrolls to it.
import { client, unwrap } from '../../api/client'
import { query, type Query } from '../../query/query.svelte'
import { extended, renewed, type Execution } from './listed'

const PAGE = 100
const MOST_OPEN = 20 // executions further down that still run, which are read one by one

export interface Wanted {
  status?: Execution['status']
  execution_type?: Execution['execution_type']
  flow_id?: string
  backfill_id?: string
  label?: string
  from?: string
  to?: string
}

export class ExecutionList {
  rows = $state.raw<readonly Execution[]>([])
  more = $state(false)
  readonly read: Query<{ total: number }>

  private of = ''
  private busy = false

  constructor(private readonly wanted: () => Wanted) {
    this.read = query((signal) => this.begin(signal), { on: ['flow', 'backup'] })
  }

  get total(): number {
    return this.read.data?.total ?? 0
  }

  /** Read on from where the list ends. */
  async further(): Promise<void> {
    if (this.busy || !this.more) return
    this.busy = true
    const of = this.of
    try {
      const page = await this.page(this.rows.length)
      if (of !== this.of) return
      this.rows = extended(this.rows, page.executions)
      this.more = page.executions.length > 0 && this.rows.length < page.total
    } catch {
      // the next time that one scrolls
    } finally {
      this.busy = false
    }
  }

  private page(offset: number, signal: AbortSignal | null = null) {
    const params = { query: { ...this.wanted(), limit: PAGE, offset } }
    return unwrap(client.GET('/api/v1/executions', { params, signal }))
  }

  private async begin(signal: AbortSignal): Promise<{ total: number }> {
    const of = JSON.stringify(this.wanted())
    const head = await this.page(0, signal)
    const known = of === this.of ? this.rows : []
    const rows = renewed(known, head.executions, head.total)
    const open = rows.slice(head.executions.length).filter((one) => one.completed_at === null)
    const now = await Promise.all(open.slice(0, MOST_OPEN).map((one) => this.one(one, signal)))
    if (signal.aborted) return { total: head.total }
    const { status } = this.wanted()
    this.of = of
    this.rows = extended(rows, now).filter((one) => status === undefined || one.status === status)
    this.more = this.rows.length < head.total
    return { total: head.total }
  }

  private one(execution: Execution, signal: AbortSignal): Promise<Execution> {
    const path = { execution_id: execution.id }
    return unwrap(client.GET('/api/v1/executions/{execution_id}', { params: { path }, signal }))
  }
}
