// What the kinds of repository are, in words.
import type { Schemas } from '../../api/client'

export type Engine = Schemas['RepositoryResponse']['type']

interface Words {
  name: string
  hint: string
  location: string
}

export const ENGINES: Record<Engine, Words> = {
  directory: {
    name: 'Folder',
    hint: 'Compressed disk images with checksums in a folder, also of a mounted share; standard tools restore them.',
    location: 'The absolute path of a folder that is there, and that the workers can write to.',
  },
  simulated: {
    name: 'Simulated',
    hint: 'Nothing is read or written: for trying flows and schedules out.',
    location: 'Any text: nothing is written there.',
  },
}

/** Return how a simulated repository behaves, as its settings say or as it does without them. */
export function simulation(config: Schemas['RepositoryResponse']['config']): {
  seconds: number
  bytes: number
  failure_rate: number
} {
  const number = (name: string, usual: number): number => {
    const value = config?.[name]
    return typeof value === 'number' ? value : usual
  }
  return {
    seconds: number('seconds', 0),
    bytes: number('bytes', 1_048_576),
    failure_rate: number('failure_rate', 0),
  }
}
