import { fireEvent, render, screen } from '@testing-library/svelte'
import { tick } from 'svelte'
import { expect, test } from 'vitest'

import type { LogEvent } from '../live/events'
import { fold } from './fold'
import LogLines from './LogLines.svelte'

function event(sequence: number): LogEvent {
  return { sequence, type: 'backup.failed', subject: 'f1', time: '2026-11-25T03:00:00Z', data: {} }
}

test('it follows what comes however fast that is, until one goes up', async () => {
  render(LogLines, { lines: fold([], [event(1), event(2)]), label: 'The log' })
  const log = screen.getByRole('log')
  const follow = () => screen.queryByText('↓ Follow')
  Object.defineProperty(log, 'clientHeight', { value: 100 })
  Object.defineProperty(log, 'scrollHeight', { value: 1000, configurable: true })
  log.scrollTop = 900
  await fireEvent.scroll(log)
  Object.defineProperty(log, 'scrollHeight', { value: 3000, configurable: true })
  await fireEvent.scroll(log) // of before: the end has moved on meanwhile
  await tick()
  expect(follow()).toBeNull()
  log.scrollTop = 500
  await fireEvent.scroll(log)
  expect(follow()).not.toBeNull()
})
