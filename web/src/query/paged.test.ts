import { expect, test } from 'vitest'

import { paged } from './paged'

test('all pages are read, each once, and what is on two counts once', async () => {
  const asked: number[] = []
  const all = Array.from({ length: 1001 }, (_, n) => String(n))
  const found = await paged(({ limit, offset }) => {
    asked.push(offset)
    const shift = offset === 0 ? 0 : 1 // one was made meanwhile, before all others
    return Promise.resolve({ total: all.length, items: all.slice(offset - shift, offset - shift + limit) })
  }, String)
  expect(asked).toEqual([0, 500, 1000])
  expect(found).toEqual(all)
})

test('an empty list is read once', async () => {
  let times = 0
  const found = await paged<string>(() => {
    times += 1
    return Promise.resolve({ total: 0, items: [] })
  }, String)
  expect([found, times]).toEqual([[], 1])
})
