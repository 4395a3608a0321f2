// node --import tsx collect-fake-host.ts PROC SYS BPFTRACE SOCKET: the command `collect` on a fake host, until a signal.
// A reader has a queue of 512 KiB, so that a test can fill it soon.
import { collect } from '../../src/cli/collect.ts';
import { DEFAULT_TIMING } from '../../src/collector/timing.ts';
import { loadConfig } from '../../src/config/load.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { stopOnSignals } from '../../src/lib/signals.ts';

const [procRoot = '', sysRoot = '', bpftrace = '', socket = ''] = process.argv.slice(2);
const { env, stdout, stderr, stdin } = process;
const flags = [
  { key: 'bpftrace.path', raw: bpftrace, where: 'test' },
  { key: 'collector.socket', raw: socket, where: 'test' },
  { key: 'log.format', raw: 'json', where: 'test' },
] as const;
const code = await collect({
  config: loadConfig({ environment: {}, flags, file: undefined }),
  operand: undefined,
  names: [],
  json: false,
  print: undefined,
  options: {},
  env,
  serverFlags: [],
  stop: stopOnSignals(process),
  stdout,
  stderr,
  stdin,
  readers: { maxPendingBytes: 512 * 1024 },
  host: {
    procRoot,
    sysRoot,
    uid: 0,
    clock: systemClock,
    timing: { spacingMs: { ...DEFAULT_TIMING.spacingMs, loss: 100 } },
  },
});
process.exit(code);
