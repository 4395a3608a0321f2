import type { LiveSourceOptions } from '../collector/collector.ts';
import type { Config, ConfigKey } from '../config/schema.ts';
import type { StopRequest } from '../lib/signals.ts';
import type { RelaySocketOptions } from '../relay/socket.ts';
import type { ExitCode } from './exit-codes.ts';

export const PRINTS = ['metrics', 'events'] as const;
export type Print = (typeof PRINTS)[number];

/** Input of a command: arguments, settings, streams, and the stop request. */
export interface CommandContext {
  config: Config;
  /** The FILE of record, serve and replay, or the URL of watch. */
  operand: string | undefined;
  /** The NAMEs of reasons. */
  names: readonly string[];
  /** --json: print machine-readable output. */
  json: boolean;
  print: Print | undefined;
  /** Flags of this command that are not settings, by name. The value of a switch is 'true'. */
  options: Readonly<Record<string, string>>;
  env: NodeJS.ProcessEnv;
  /** The flags of settings on the command line that the server of `run` also accepts, as `--name=value`. */
  serverFlags: readonly string[];
  /** Reads all sources of the settings again. @throws TracerError */
  loadConfig?: () => Config;
  /** Calls the listener at each SIGHUP. Returns a function that undoes it. */
  onHangup?: (listener: () => void) => () => void;
  stop: StopRequest;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
  stdin: NodeJS.ReadStream;
  /** The host to trace. Default: this host. */
  host?: Pick<LiveSourceOptions, 'procRoot' | 'sysRoot' | 'etcRoot' | 'uid' | 'clock' | 'timing'>;
  /** Limits of the socket of `collect`. Default: those of the relay. */
  readers?: Pick<RelaySocketOptions, 'maxPendingBytes'>;
}

export type CommandName =
  | 'run'
  | 'collect'
  | 'record'
  | 'serve'
  | 'replay'
  | 'probes'
  | 'doctor'
  | 'watch'
  | 'reasons'
  | 'server';

export interface CommandOption {
  /** Placeholder of the value in the help text. Undefined if the flag is a switch. */
  value: string | undefined;
  help: string;
}

export interface CommandSpec {
  name: CommandName;
  usage: string;
  summary: string;
  /** More lines for the help text of the command. */
  detail: readonly string[];
  operand: string | undefined;
  optionalOperand?: true;
  /** Settings that the command uses. It rejects flags of other settings. */
  keys: readonly ConfigKey[];
  /** What a setting means for this command, instead of its description for all commands. */
  keyHelp?: Partial<Readonly<Record<ConfigKey, string>>>;
  /** What exit code 1 means, if it is not the same as for other commands. */
  failure?: string;
  print: boolean;
  /** The command accepts any number of names. */
  names?: true;
  /** Help text of --json. Undefined if the command has no --json. */
  json?: string;
  options?: Readonly<Record<string, CommandOption>>;
  /** Columns that the command shows, with their meaning. */
  columns?: readonly (readonly [title: string, meaning: string])[];
  /** Imports the module of the command on demand, so that other commands start fast. */
  load(): Promise<(context: CommandContext) => Promise<ExitCode>>;
}
