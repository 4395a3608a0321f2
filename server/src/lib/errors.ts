import { neutral } from './neutral.ts';

/** Errors that the user or the host causes. They are printed without a stack. */
const USER_CODES = [
  'bad_usage',
  'bad_config',
  'bad_recording',
  'bad_facts',
  'file_unreadable',
  'file_unwritable',
  'address_unavailable',
  'bad_request',
  'not_found',
  'host_untraceable',
] as const;

/** Internal errors: a defect of this program, or a failed child process. */
const INTERNAL_CODES = ['child_failed', 'invariant_broken'] as const;

export type UserCode = (typeof USER_CODES)[number];
export type ErrorCode = UserCode | (typeof INTERNAL_CODES)[number];

export interface TracerErrorDetail {
  /** Place of the error: a file and line, a flag, a key of the config. */
  where?: string;
  /** How to fix it: a sentence or a command. */
  remedy?: string;
  cause?: unknown;
}

/** The error class of the program. `message` is the cause, `where` the place, `remedy` the fix. */
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

  /** True if the user must change something: an input, or the host. */
  get isUserError(): boolean {
    return (USER_CODES as readonly string[]).includes(this.code);
  }

  /** The error as lines for a terminal: message, `where:` and `fix:`. */
  describe(): string {
    const lines = [this.message];
    if (this.where !== undefined) lines.push(`  where: ${neutral(this.where)}`);
    if (this.remedy !== undefined) lines.push(`  fix: ${neutral(this.remedy)}`);
    return lines.join('\n');
  }
}
