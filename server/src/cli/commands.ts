import type { ConfigKey } from '../config/schema.ts';
import type { CommandName, CommandSpec } from './command.ts';

const LOG: readonly ConfigKey[] = ['log.level', 'log.format'];
const BPFTRACE: readonly ConfigKey[] = ['bpftrace.path', 'bpftrace.map-keys'];
const SERVE: readonly ConfigKey[] = [
  'web.listen-address',
  'web.allowed-hosts',
  'web.telemetry-path',
  'web.max-requests',
  'web.config.file',
  'web.enable-lifecycle',
  'web.disable-exporter-metrics',
  'events.keep',
  'events.output',
  'events.output-kinds',
  'events.output-results',
  'events.output-devices',
];

/** Settings of the server of `run`. */
const RUN_SERVER: readonly ConfigKey[] = [
  ...SERVE,
  'stale-after',
  'strict',
  'metrics.max-series',
  'metrics.keep-departed',
  ...LOG,
];

/** `run` starts it, no user: so no help lists it. */
export const SERVER_COMMAND: CommandSpec = {
  name: 'server',
  usage: 'server [flags]',
  summary: 'the part of `run` that serves; `run` starts it',
  detail: ['Reads the stream from standard input, and writes to descriptor 3 when it listens.'],
  operand: undefined,
  keys: RUN_SERVER,
  print: false,
  load: async () => (await import('./run-server.ts')).runServer,
};

export const COMMANDS: readonly CommandSpec[] = [
  {
    name: 'run',
    usage: '[run] [flags]',
    summary: 'trace this host and serve metrics, events and state (the default)',
    detail: [
      'Needs root or capabilities (SECURITY.md), BTF and bpftrace 0.23 or newer. Serves on the loopback address only,',
      'unless --web.listen-address is set.',
    ],
    operand: undefined,
    keyHelp: { overwrite: 'with --record: replace an existing file; without it, the new file gets a number' },
    keys: [...RUN_SERVER, 'server-user', 'record', 'overwrite', 'simulate', ...BPFTRACE],
    print: false,
    load: async () => (await import('./run.ts')).run,
  },
  {
    name: 'collect',
    usage: 'collect [flags]',
    summary: 'trace this host and pass the stream on to `serve`, which needs no privilege',
    detail: [
      'Needs what `run` needs, but serves no network. The owner and the group of the socket may read the stream; up to 16',
      'readers may be connected. A reader that is too slow loses lines, which are counted, and delays no other one.',
    ],
    operand: undefined,
    keys: ['collector.socket', 'collector.group', 'strict', 'simulate', ...BPFTRACE, ...LOG],
    print: false,
    load: async () => (await import('./collect.ts')).collect,
  },
  {
    name: 'record',
    usage: 'record FILE [flags]',
    summary: 'write the stream of this host to FILE until SIGINT or SIGTERM',
    detail: [
      'FILE is compressed if its name ends in .gz. `-` is standard output. Log lines go to stderr. A new FILE has mode 0600.',
      'If FILE exists, the command fails, unless --overwrite is given. A named pipe or a character device is always written to.',
    ],
    operand: 'FILE',
    keyHelp: { overwrite: 'replace FILE if it exists' },
    keys: ['overwrite', 'strict', 'simulate', ...BPFTRACE, ...LOG],
    print: false,
    load: async () => (await import('./record.ts')).record,
  },
  {
    name: 'serve',
    usage: 'serve FILE [flags]',
    summary: 'serve the stream that `collect` or `record` writes; the recorder may run on another host',
    detail: [
      'FILE is the socket of `collect`, a named pipe or a character device. `-` is standard input. Needs no privilege and no',
      'bpftrace. A lost connection to a socket is made again, also if FILE does not exist yet and ends in .sock. Otherwise',
      'fails when the stream ends. Example: `ssh HOST vfio-dmabuf-tracer record - | vfio-dmabuf-tracer serve -` serves the',
      'stream of HOST.',
    ],
    operand: 'FILE',
    keyHelp: {
      strict: 'exit with 3 if the stream reports that its host cannot be traced, instead of waiting',
    },
    keys: [
      ...SERVE,
      'web.systemd-socket',
      'stale-after',
      'strict',
      'metrics.max-series',
      'metrics.keep-departed',
      ...LOG,
    ],
    print: false,
    load: async () => (await import('./serve-stream.ts')).serveStream,
  },
  {
    name: 'replay',
    usage: 'replay FILE [--print metrics|events] [flags]',
    summary: 'serve a recording, or print its metrics or events',
    detail: ['FILE may be compressed with gzip. `-` is standard input. Needs no privilege and no bpftrace.'],
    operand: 'FILE',
    keys: [...SERVE, 'metrics.max-series', 'metrics.keep-departed', ...LOG],
    print: true,
    load: async () => (await import('./replay.ts')).replay,
  },
  {
    name: 'probes',
    usage: 'probes [--only=NAMES] [--facts=FILE] [flags]',
    summary: 'print the bpftrace program for this host, and list the missing probes on stderr',
    detail: [
      'Does not start tracing. `run` traces with the same program. With --facts it prints the program for another host;',
      'FILE is what `doctor --facts-out` has written there. Then it needs no privilege, no BTF and no bpftrace.',
    ],
    operand: undefined,
    keys: ['bpftrace.path'],
    print: false,
    options: {
      only: { value: 'NAMES', help: 'compose these probes alone, e.g. attach,detach' },
      facts: { value: 'FILE', help: 'compose for the host whose facts are in FILE' },
    },
    load: async () => (await import('./probes.ts')).probes,
  },
  {
    name: 'doctor',
    usage: 'doctor [--json] [--facts-out=FILE] [flags]',
    summary: 'check what this host needs, and print the fix for what is missing',
    detail: [
      'Changes nothing; only --facts-out writes a file. A warning means that some activity may be missed or misreported.',
    ],
    operand: undefined,
    keys: ['bpftrace.path'],
    print: false,
    json: 'print the diagnosis as one JSON object',
    failure: 'something that tracing needs is missing, or the facts cannot be written',
    options: {
      'facts-out': {
        value: 'FILE',
        help: 'also write what `probes --facts` needs: names, versions and offsets, but no addresses',
      },
    },
    load: async () => (await import('./doctor.ts')).doctor,
  },
  {
    name: 'watch',
    usage: 'watch [URL] [flags]',
    summary: 'show the state, incidents, buffers and newest rejections of a running daemon in the terminal',
    detail: [
      'URL is the URL of the daemon, by default http://127.0.0.1:10043. Needs no privilege. Press ? for the keys.',
      'Without a terminal it prints the tables once and exits.',
    ],
    operand: 'URL',
    optionalOperand: true,
    keys: [],
    print: false,
    json: 'print each event as one line of JSON until stopped; after a lost connection, continue after the last event',
    options: {
      device: { value: 'ADDRESS', help: 'only this PCI device' },
      vm: { value: 'TEXT', help: 'only VMs whose name, UUID, pod UID or pid contains TEXT; not with --json' },
      state: { value: 'live|revoked', help: 'only buffers in this state; not with --json' },
      'http.config.file': {
        value: 'FILE',
        help: 'user, password and CA for the daemon, in the format of promtool: basic_auth, tls_config',
      },
      once: { value: undefined, help: 'print the tables once and exit' },
    },
    columns: [
      ['SEVERITY', 'of an open incident: info, warning or critical'],
      [
        'SINCE, TIME',
        'UTC time, with the day if it is not today, at which the incident opened, or at which the kernel rejected the call',
      ],
      ['KIND, WHAT', 'kind of the incident (docs/incidents.md), and what happened'],
      ['DEVICE, BAR', 'PCI device and BAR whose memory the buffer exports'],
      ['SIZE, AGE', 'bytes of the buffer, and the time since its export; `≥`: its export was not traced'],
      ['PRIVACY', 'private, shared, or undeclared if the kernel has no private exports'],
      ['STATE', 'live: importers can map the buffer; revoked: they cannot map it now'],
      ['REVOKED BY', 'cause of the last revocation; `N lost`: iommufd mappings that were not remapped since'],
      ['VM', 'VM that the device belongs to'],
      [
        'IMPORTERS',
        'attached importers with their device and the route of their mapping; `× N`: number of attachments',
      ],
      ['OWNER', 'process that exported the buffer; `ended`: the process has ended'],
      [
        'STAGE, BY',
        'rejected call (export, or stage of the import), and the importer or the program that called',
      ],
      ['REASON', 'why the kernel rejected the call; `vfio-dmabuf-tracer reasons NAME` explains it'],
    ],
    load: async () => (await import('./watch.ts')).watch,
  },
  {
    name: 'reasons',
    usage: 'reasons [NAME|TEXT...] [--json]',
    summary: 'explain the reasons, policy violations, revoke causes and incidents in events and metrics',
    detail: [
      'Without a NAME, lists all entries. With a NAME, prints what happened, the rule of the kernel, and the fix.',
      'TEXT is an errno, a stage, an alert, a log line of a VMM, or a function or setting of user space or the kernel. Examples:',
      "`reasons ENODEV`, `reasons pin`, `reasons 'IOMMU_IOAS_MAP failed: Bad address, PCI BAR?'`.",
    ],
    operand: undefined,
    keys: [],
    print: false,
    names: true,
    json: 'print the complete entries as one JSON array',
    load: async () => (await import('./reasons.ts')).reasons,
  },
];

export function commandOf(name: CommandName): CommandSpec {
  const spec = COMMANDS.find((command) => command.name === name);
  if (spec === undefined) throw new RangeError(`no command ${name}`);
  return spec;
}
