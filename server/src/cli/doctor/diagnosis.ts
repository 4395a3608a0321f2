import { type Static, Type } from 'typebox';

/** One thing that tracing needs of the host, or that its numbers are worth less without. */
export const Check = Type.Object({
  name: Type.String({ description: 'what is looked at, e.g. btf' }),
  state: Type.Enum(['found', 'warning', 'missing'], {
    description:
      'missing: nothing can be traced without; warning: some activity may be missed or misreported',
  }),
  message: Type.String({ description: 'what is found, or what is missing and what that costs' }),
  remedy: Type.Union([Type.String(), Type.Null()], { description: 'the fix; null where it is found' }),
});
export type Check = Static<typeof Check>;

/** What `doctor --json` prints. */
export const Diagnosis = Type.Object({
  version: Type.String(),
  kernel: Type.String(),
  dialect: Type.String(),
  traceable: Type.Boolean({ description: 'false where a check is missing; the exit code is 1 then' }),
  checks: Type.Array(Check),
});
export type Diagnosis = Static<typeof Diagnosis>;

export const found = (name: string, message: string): Check => ({
  name,
  state: 'found',
  message,
  remedy: null,
});
export const warning = (name: string, message: string, remedy: string): Check => ({
  name,
  state: 'warning',
  message,
  remedy,
});
export const missing = (name: string, message: string, remedy: string): Check => ({
  name,
  state: 'missing',
  message,
  remedy,
});
