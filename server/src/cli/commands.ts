import type { LiveSourceOptions } from '../collector/live.ts';
import type { Config, ConfigKey } from '../config/schema.ts';
import type { StopRequest } from '../support/signals.ts';
import type { ExitCode } from './exit-codes.ts';

export const PRINTS = ['metrics', 'events'] as const;
export type Print = (typeof PRINTS)[number];

/** What a command gets: what was asked, and the world it may touch. */
export interface CommandContext {
  config: Config;
  /** The FILE of record and replay, the URL of watch. */
  operand: string | undefined;
  /** The NAMEs of reasons. */
  names: readonly string[];
  /** Machine-readable output was asked for. */
  json: boolean;
  print: Print | undefined;
  /** Flags of this command alone that are no settings, by name; a switch is 'true'. */
  options: Readonly<Record<string, string>>;
  env: NodeJS.ProcessEnv;
  stop: StopRequest;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
  stdin: NodeJS.ReadStream;
  /** The host to trace; default this one. */
  host?: Pick<LiveSourceOptions, 'procRoot' | 'sysRoot' | 'etcRoot' | 'uid' | 'clock' | 'timing'>;
}

export type CommandName = 'run' | 'record' | 'serve' | 'replay' | 'probes' | 'doctor' | 'watch' | 'reasons';

export interface CommandOption {
  /** What stands for its value in the help; undefined is a switch. */
  value: string | undefined;
  help: string;
}

export interface CommandSpec {
  name: CommandName;
  usage: string;
  summary: string;
  /** More lines for its own help page. */
  detail: readonly string[];
  operand: string | undefined;
  optionalOperand?: true;
  /** The settings that change what it does; a flag of any other is rejected. */
  keys: readonly ConfigKey[];
  print: boolean;
  /** Takes any number of names. */
  names?: true;
  /** What --json does, where the command takes it. */
  json?: string;
  options?: Readonly<Record<string, CommandOption>>;
  /** Loaded only when it is the one to run, so that the others start fast. */
  load(): Promise<(context: CommandContext) => Promise<ExitCode>>;
}

const LOG: readonly ConfigKey[] = ['log.level', 'log.format'];
const BPFTRACE: readonly ConfigKey[] = ['bpftrace.path', 'bpftrace.map-keys'];
const SERVE: readonly ConfigKey[] = [
  'web.listen-address',
  'web.allowed-hosts',
  'web.telemetry-path',
  'web.max-requests',
  'web.disable-exporter-metrics',
  'events.keep',
];

export const COMMANDS: readonly CommandSpec[] = [
  {
    name: 'run',
    usage: '[run] [flags]',
    summary: 'trace this host and serve metrics, events and state (the default)',
    detail: [
      'Needs root, BTF and bpftrace 0.23 or newer. Serves on the loopback address only, unless --web.listen-address is set.',
    ],
    operand: undefined,
    keys: [
      ...SERVE,
      'stale-after',
      'strict',
      'record',
      'overwrite',
      'simulate',
      ...BPFTRACE,
      'metrics.max-series',
      'metrics.keep-departed',
      ...LOG,
    ],
    print: false,
    load: async () => (await import('./run.ts')).run,
  },
  {
    name: 'record',
    usage: 'record FILE [flags]',
    summary: 'write the stream of this host to FILE until SIGINT or SIGTERM',
    detail: [
      'FILE is compressed where its name ends in .gz; `-` is the standard output. Log lines go to stderr. Only its owner can',
      'read a new FILE. One that exists is kept, unless --overwrite is given; a pipe or a character device is written to.',
    ],
    operand: 'FILE',
    keys: ['overwrite', 'strict', 'simulate', ...BPFTRACE, ...LOG],
    print: false,
    load: async () => (await import('./record.ts')).record,
  },
  {
    name: 'serve',
    usage: 'serve FILE [flags]',
    summary: 'serve the stream that a `record` elsewhere is writing, as `run` serves this host',
    detail: [
      'FILE is a pipe or a character device; `-` is the standard input. Needs no privilege and no bpftrace. It ends with an',
      'error when the stream ends. `ssh HOST vfio-dmabuf-tracer record - | vfio-dmabuf-tracer serve -` shows another host.',
    ],
    operand: 'FILE',
    keys: [...SERVE, 'stale-after', 'strict', 'metrics.max-series', 'metrics.keep-departed', ...LOG],
    print: false,
    load: async () => (await import('./serve-stream.ts')).serveStream,
  },
  {
    name: 'replay',
    usage: 'replay FILE [--print metrics|events] [flags]',
    summary: 'serve a recorded stream, or print what it comes to',
    detail: [
      'FILE may be compressed with gzip; `-` is the standard input. Needs no privilege and no bpftrace.',
    ],
    operand: 'FILE',
    keys: [...SERVE, 'metrics.max-series', 'metrics.keep-departed', ...LOG],
    print: true,
    load: async () => (await import('./replay.ts')).replay,
  },
  {
    name: 'probes',
    usage: 'probes [flags]',
    summary: 'print the bpftrace program for this host and, to stderr, what is missing here',
    detail: ['Starts nothing: what it prints is what `run` would trace with.'],
    operand: undefined,
    keys: ['bpftrace.path'],
    print: false,
    load: async () => (await import('./probes.ts')).probes,
  },
  {
    name: 'doctor',
    usage: 'doctor [--json] [flags]',
    summary: 'check what this host needs, and print the fix for what is missing',
    detail: [
      'Changes nothing. Exits with 0 where the host can be traced, also with warnings (some activity may be missed or',
      'misreported), and with 1 where something that tracing needs is missing.',
    ],
    operand: undefined,
    keys: ['bpftrace.path'],
    print: false,
    json: 'print the diagnosis as one JSON object',
    load: async () => (await import('./doctor.ts')).doctor,
  },
  {
    name: 'watch',
    usage: 'watch [URL] [flags]',
    summary: 'show a running daemon in the terminal: its state, the live buffers, the newest rejections',
    detail: [
      'URL is that of the daemon, http://127.0.0.1:10043 where it is left out. Needs no privilege. Press ? for the keys.',
      'Without a terminal it prints the tables once and ends.',
    ],
    operand: 'URL',
    optionalOperand: true,
    keys: [],
    print: false,
    json: 'print one event of the stream a line as JSON, until it is stopped; goes on where it was after a lost connection',
    options: {
      device: { value: 'ADDRESS', help: 'only this PCI device' },
      vm: { value: 'TEXT', help: 'only VMs whose name, UUID or pid contains this; not with --json' },
      state: { value: 'live|revoked', help: 'only buffers in this state; not with --json' },
      once: { value: undefined, help: 'print the tables once and end' },
    },
    load: async () => (await import('./watch.ts')).watch,
  },
  {
    name: 'reasons',
    usage: 'reasons [NAME|TEXT...] [--json]',
    summary: 'explain the reasons, policy violations and revoke causes that events and metrics name',
    detail: [
      'Without a NAME, lists all; with one, says what happened, the rule of the kernel, and what to do. TEXT is a line from the log',
      'of a VMM, or a function or setting of user space or the kernel: `reasons IOMMU_IOAS_MAP failed: Bad address, PCI BAR?`.',
    ],
    operand: undefined,
    keys: [],
    print: false,
    names: true,
    json: 'print the whole entries as one JSON array',
    load: async () => (await import('./reasons.ts')).reasons,
  },
];

export function commandOf(name: CommandName): CommandSpec {
  const spec = COMMANDS.find((command) => command.name === name);
  if (spec === undefined) throw new RangeError(`no command ${name}`);
  return spec;
}
