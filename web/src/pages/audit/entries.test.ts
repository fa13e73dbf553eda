import { expect, test } from 'vitest'

import { csv } from '../../format/csv'
import { changes, nameOf, pageOf, rows, type Entry } from './entries'

const NAMES = { flow: (id: string) => (id === 'f1' ? 'nightly' : undefined), vm: () => undefined }

function entry(more: Partial<Entry>): Entry {
  return {
    ...{ id: 'c1', sequence: 1, entity: 'policy', verb: 'update', entity_id: 'p1', actor: 'anna' },
    ...{ time: '2026-11-25T03:00:00Z', outcome: 'accepted', code: null, reason: null, field: null },
    ...{ request: null, before: null, after: null },
    ...more,
  }
}

test('what changed is told field by field, without what every change changes', () => {
  const before = { id: 'p1', name: 'gold', version: 1, keep_last: 3, labels: {}, gone: 'x' }
  const after = { id: 'p1', name: 'gold', version: 2, keep_last: 5, labels: { site: 'a' } }
  expect(changes(entry({ before, after }))).toEqual([
    { field: 'keep_last', before: '3', after: '5' },
    { field: 'labels', before: '{}', after: '{"site":"a"}' },
    { field: 'gone', before: 'x', after: '' },
  ])
  expect(changes(entry({}))).toEqual([])
})

test.each<[Partial<Entry>, string, string | undefined]>([
  [{ after: { name: 'gold' } }, 'gold', '/policies?edit=p1'],
  [{ verb: 'delete', before: { name: 'gold' } }, 'gold', undefined],
  [{ verb: 'create', outcome: 'rejected', request: { spec: { name: 'gold' } } }, 'gold', undefined],
  [{ verb: 'delete', outcome: 'rejected' }, 'p1', '/policies?edit=p1'],
  [{ entity: 'flow', verb: 'execute', entity_id: 'f1' }, 'nightly', '/flows/f1'],
  [{ entity: 'vm', entity_id: 'vm-1', after: { vm_name: 'db01' } }, 'db01', '/vms/vm-1'],
  [{ entity: 'execution', verb: 'cancel', entity_id: 'x1' }, 'x1', '/executions/x1'],
  [{ entity: 'settings', entity_id: 'settings' }, '', '/settings'],
  [{ entity: 'storage', entity_id: 's' }, 's', undefined],
])('the thing has its name, and its page while it is there: %#', (more, name, page) => {
  expect([nameOf(entry(more), NAMES), pageOf(entry(more))]).toEqual([name, page])
})

test('entries are written as a table that a spreadsheet takes for text', () => {
  const one = entry({
    ...{ actor: '=cmd()', reason: 'it is "gone", \nand', verb: 'add_member', outcome: 'rejected' },
  })
  expect(csv(rows([one], NAMES))).toBe(
    'time,actor,action,kind,name,id,outcome,reason,changes\r\n' +
      `2026-11-25T03:00:00Z,'=cmd(),add member,policy,p1,p1,rejected,"it is ""gone"", \nand",\r\n`,
  )
})
