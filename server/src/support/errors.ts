import { neutral } from './neutral.ts';

/** What can be wrong with what the user gave or with the host: each prints without a stack. */
export const USER_CODES = [
  'bad_usage',
  'bad_config',
  'bad_recording',
  'file_unreadable',
  'file_unwritable',
  'address_unavailable',
  'bad_request',
  'not_found',
  'host_untraceable',
] as const;

/** What can go wrong inside: each is a defect or a broken child, and keeps its cause. */
export const INTERNAL_CODES = ['child_failed', 'invariant_broken'] as const;

export type UserCode = (typeof USER_CODES)[number];
export type ErrorCode = UserCode | (typeof INTERNAL_CODES)[number];

export interface TracerErrorDetail {
  /** Where it was found: a file with its line, a flag, a path of the config. */
  where?: string;
  /** How fix, as a sentence or a command. */
  remedy?: string;
  cause?: unknown;
}

/** The one error class of the program. `message` is the cause, `where` the place, `remedy` the fix. */
export class TracerError extends Error {
  readonly code: ErrorCode;
  readonly where: string | undefined;
  readonly remedy: string | undefined;

  constructor(code: ErrorCode, message: string, detail: TracerErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = 'TracerError';
    this.code = code;
    this.where = detail.where;
    this.remedy = detail.remedy;
  }

  /** True where the user or the host, not this program, has to change something. */
  get isUserError(): boolean {
    return (USER_CODES as readonly string[]).includes(this.code);
  }

  /** One block for a terminal: what, where, how fix. */
  describe(): string {
    const lines = [this.message];
    if (this.where !== undefined) lines.push(`  where: ${neutral(this.where)}`);
    if (this.remedy !== undefined) lines.push(`  fix: ${neutral(this.remedy)}`);
    return lines.join('\n');
  }
}
