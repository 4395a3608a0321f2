import { resolve } from 'node:path';

export const USAGE = `Usage: npm run dev -- [RECORDING] [--port N] [flags of replay]

Builds the program from the sources, replays RECORDING (default recordings/busy-hour.ndjson.gz) with it, and rebuilds on each save.

  --port N   listens on 127.0.0.1:N; default 10043, 0 selects a free port
  All other flags go to \`vfio-dmabuf-tracer replay\`, for example --log.level=debug.
`;

export const DEFAULT_PORT = 10_043;

export interface DevArgs {
  help: boolean;
  /** Absolute path. */
  recording: string;
  port: number;
  /** Flags that are passed to the program. */
  flags: string[];
}

/** A mistake of the user; printed without a stack trace. */
export class UsageError extends Error {}

/** Only the first argument can be RECORDING, because the value of a program flag may look like a path. */
export function readDevArgs(argv: readonly string[], root: string, cwd: string): DevArgs {
  const named = argv[0] !== undefined && !argv[0].startsWith('-') ? argv[0] : undefined;
  const recording =
    named === undefined ? resolve(root, 'recordings/busy-hour.ndjson.gz') : resolve(cwd, named);
  const args: DevArgs = { help: false, recording, port: DEFAULT_PORT, flags: [] };
  const rest = argv.slice(named === undefined ? 0 : 1);
  for (let index = 0; index < rest.length; index += 1) {
    const arg = rest[index] as string;
    if (arg === '--help' || arg === '-h') args.help = true;
    else if (arg === '--port') args.port = portOf(rest[++index]);
    else if (arg.startsWith('--port=')) args.port = portOf(arg.slice('--port='.length));
    else if (/^--(web\.listen-address|print)(=|$)/.test(arg)) {
      throw new UsageError(`npm run dev does not accept ${arg}\nfix: use --port to choose where it listens`);
    } else args.flags.push(arg);
  }
  return args;
}

function portOf(text: string | undefined): number {
  const port = Number(text);
  if (text !== undefined && /^\d+$/.test(text) && port <= 65_535) return port;
  throw new UsageError(`--port needs a number from 0 to 65535, not ${text ?? 'nothing'}`);
}
