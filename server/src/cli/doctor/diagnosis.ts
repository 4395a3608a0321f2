import { type Static, Type } from 'typebox';

/** One property of the host that tracing needs, or that makes its numbers more reliable. */
export const Check = Type.Object({
  name: Type.String({ description: 'what is checked, e.g. btf' }),
  state: Type.Enum(['ok', 'warning', 'missing'], {
    description:
      'missing: without it nothing can be traced; warning: some activity may be missed or misreported',
  }),
  message: Type.String({ description: 'what the host has, or what is missing and the consequence' }),
  remedy: Type.Union([Type.String(), Type.Null()], { description: 'the fix; null if the state is ok' }),
});
export type Check = Static<typeof Check>;

/** What `doctor --json` prints. */
export const Diagnosis = Type.Object({
  version: Type.String(),
  kernel: Type.String(),
  dialect: Type.String(),
  traceable: Type.Boolean({ description: 'false if a check has the state missing; then the exit code is 1' }),
  checks: Type.Array(Check),
});
export type Diagnosis = Static<typeof Diagnosis>;

export function ok(name: string, message: string): Check {
  return {
    name,
    state: 'ok',
    message,
    remedy: null,
  };
}
export function warning(name: string, message: string, remedy: string): Check {
  return {
    name,
    state: 'warning',
    message,
    remedy,
  };
}
export function missing(name: string, message: string, remedy: string): Check {
  return {
    name,
    state: 'missing',
    message,
    remedy,
  };
}
