// One thing after the other is done to many, a few at a time; what fails does not stop the others.

export interface Done {
  good: number
  /** Why it was not done, by name. */
  failed: [name: string, why: string][]
}

/** Do something to each, `width` at a time. `tell`: how many are done. */
export async function each<T>(
  some: readonly T[],
  name: (one: T) => string,
  act: (one: T) => Promise<unknown>,
  tell: (done: number) => void = () => undefined,
  width = 6,
): Promise<Done> {
  const done: Done = { good: 0, failed: [] }
  const waiting = some.values()
  const work = async (): Promise<void> => {
    for (const one of waiting) {
      try {
        await act(one)
        done.good += 1
      } catch (error) {
        done.failed.push([name(one), error instanceof Error ? error.message : String(error)])
      }
      tell(done.good + done.failed.length)
    }
  }
  await Promise.all(Array.from({ length: width }, work))
  return done
}
