/** Colors need a terminal. NO_COLOR disables them unless it is empty (https://no-color.org). */
export function wantsColor(stdout: Pick<NodeJS.WriteStream, 'isTTY'>, env: NodeJS.ProcessEnv): boolean {
  return stdout.isTTY === true && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb';
}
