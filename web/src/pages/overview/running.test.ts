import { expect, test } from 'vitest'

import { percent } from './running'

const EXECUTION = { id: 'e', jobs_created: 4, jobs_completed: 1, jobs_failed: 1, jobs_skipped: 0 }

test('what has ended counts whole, what runs as far as it is, and that of others does not', () => {
  const running = [
    { execution_id: 'e', progress_percent: 50 },
    { execution_id: 'other', progress_percent: 99 },
  ]
  expect(percent(EXECUTION, running)).toBe(62)
  expect(percent(EXECUTION, [])).toBe(50)
})

test('an execution that has not been planned is nowhere, and none is farther than its end', () => {
  expect(percent({ ...EXECUTION, jobs_created: 0 }, [])).toBe(0)
  expect(percent({ ...EXECUTION, jobs_completed: 3 }, [{ execution_id: 'e', progress_percent: 100 }])).toBe(
    100,
  )
})
