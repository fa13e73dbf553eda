// Paths of pages: `/flows/{id}` takes `/flows/7f`, with `id` decoded.

export type Parameters = Record<string, string>

/** Return the parameters of a path when it has this shape, else null. */
export function match(shape: string, path: string): Parameters | null {
  const wanted = shape.split('/')
  const found = path.replace(/\/+$/, '').split('/')
  if (path === '/') found.push('')
  if (wanted.length !== found.length) return null
  const parameters: Parameters = {}
  for (const [n, token] of wanted.entries()) {
    const text = found[n] ?? ''
    const name = /^\{(.+)\}$/.exec(token)?.[1]
    if (name === undefined) {
      if (token !== text) return null
    } else if (text === '') {
      return null
    } else {
      try {
        parameters[name] = decodeURIComponent(text)
      } catch {
        return null
      }
    }
  }
  return parameters
}
