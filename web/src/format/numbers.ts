// Numbers for people.

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Bytes, in powers of ten as storage is sold: `0 B`, `1.5 kB`, `320 GB`. */
export function bytes(value: number): string {
  let unit = 0
  let rest = value
  while (Math.round(rest * 10) >= 10_000 && unit < UNITS.length - 1) {
    rest /= 1000
    unit += 1
  }
  const digits = unit === 0 || rest >= 100 ? 0 : 1
  return `${rest.toFixed(digits).replace(/\.0$/, '')} ${UNITS[unit] ?? ''}`
}

const PLAIN = new Intl.NumberFormat('en-GB')

/** `1,234`. */
export function count(value: number): string {
  return PLAIN.format(value)
}

/** `1 VM`, `2 VMs`; `many` where that is no plain s. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`
}
