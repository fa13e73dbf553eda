import { expect, test } from 'vitest'

import { asking } from './address'

test.each([
  [[['a', '1']], 'b', '2', '/vms?a=1&b=2'],
  [[['a', '1']], 'a', '2', '/vms?a=2'],
  [[['a', '1']], 'a', null, '/vms'],
  [[], 'label', 'site=a b', '/vms?label=site%3Da+b'],
] as [[string, string][], string, string | null, string][])(
  '%j with %s as %j is %s',
  (query, name, value, href) => {
    expect(asking('/vms', query, name, value)).toBe(href)
  },
)
