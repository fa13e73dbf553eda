// What is typed on a machine so that its worker enrols itself.

export const STATE = '/var/lib/flows-worker'

/** Return the lines to paste there. The token is read from standard input, so that it stands in no list of processes. */
export function enrolling(origin: string, token: string): string {
  return [
    `flows worker enrol --url ${origin} --state ${STATE} --token-file - <<'END'`,
    token,
    'END',
    `FLOWS_STATE_DIR=${STATE} flows serve worker`,
  ].join('\n')
}
