import { resolve } from 'node:path';

export const USAGE = `Usage: npm run dev -- [RECORDING] [--port N] [flags of replay]

Serves RECORDING (default recordings/busy-hour.ndjson.gz) from the sources, and rebuilds on each save.

  --port N   listens on 127.0.0.1:N; default 10043, 0 is any free port
  All other flags go to \`vfio-dmabuf-tracer replay\`, for example --log.level=debug.
`;

export const DEFAULT_PORT = 10_043;

export interface DevArgs {
  help: boolean;
  /** Absolute path. */
  recording: string;
  port: number;
  /** For the program. */
  flags: string[];
}

/** The user's mistake: printed without a stack. */
export class UsageError extends Error {}

/** RECORDING comes first, because the value of a program flag may look like one. */
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
      throw new UsageError(`npm run dev does not take ${arg}\nfix: use --port to choose where it listens`);
    } else args.flags.push(arg);
  }
  return args;
}

function portOf(text: string | undefined): number {
  const port = Number(text);
  if (text !== undefined && /^\d+$/.test(text) && port <= 65_535) return port;
  throw new UsageError(`--port needs a number from 0 to 65535, not ${text ?? 'nothing'}`);
}
