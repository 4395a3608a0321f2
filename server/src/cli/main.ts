import { VERSION } from '../lib/package-version.ts';
import { EXIT, type ExitCode, exitCodeOf } from './exit-codes.ts';

/** Runs the command line and returns the exit code. Modules are imported on demand: loading all can take seconds in a guest. */
export async function main(argv: readonly string[], host: NodeJS.Process): Promise<ExitCode> {
  // EPIPE means that the reader closed the pipe (`| head`). That is not a failure of this program.
  host.stdout.on('error', (error: NodeJS.ErrnoException) => {
    host.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failure);
  });
  host.stderr.on('error', () => {});
  if (argv.length === 1 && argv[0] === '--version') return await reply(host, `${VERSION}\n`);
  try {
    return await dispatch(argv, host);
  } catch (error) {
    const { TracerError } = await import('../lib/errors.ts');
    const text =
      error instanceof TracerError && error.isUserError
        ? `vfio-dmabuf-tracer: ${error.describe()}`
        : `vfio-dmabuf-tracer: internal error: ${error instanceof Error ? causes(error) : String(error)}`;
    const { print } = await import('./output.ts');
    await print(host.stderr, `${text}\n`).catch(() => {});
    return exitCodeOf(error);
  }
}

async function dispatch(argv: readonly string[], host: NodeJS.Process): Promise<ExitCode> {
  const { readArgs } = await import('./args.ts');
  const args = readArgs(argv);
  if (args.version) return await reply(host, `${VERSION}\n`);
  if (args.help) {
    const { commandHelp, programHelp } = await import('./help.ts');
    return await reply(host, args.named ? commandHelp(args.command) : programHelp());
  }
  const { loadConfig } = await import('../config/load.ts');
  const warnings: string[] = [];
  const sources = {
    environment: host.env,
    flags: args.settings,
    problems: args.problems,
    file: args.configFile,
  };
  const config = loadConfig({ ...sources, onWarning: (text) => warnings.push(text) });
  if (warnings.length > 0) {
    const { note } = await import('./output.ts');
    for (const text of warnings) note(host.stderr, `warning: ${text}`);
  }
  if (args.configCheck) {
    const { loadWeb } = await import('../http/web/load.ts');
    if (config['web.config.file'] !== '') await loadWeb(config['web.config.file']);
    return await reply(host, 'the configuration is correct\n');
  }

  const run = await args.command.load();
  const { onHangup, stopOnSignals } = await import('../lib/signals.ts');
  const stop = stopOnSignals(host);
  try {
    return await run({
      config,
      operand: args.operand,
      names: args.names,
      json: args.json,
      print: args.print,
      options: args.options,
      env: host.env,
      serverFlags: args.serverFlags,
      loadConfig: () => loadConfig(sources),
      onHangup: (listener) => onHangup(host, listener),
      stop,
      stdout: host.stdout,
      stderr: host.stderr,
      stdin: host.stdin,
    });
  } finally {
    stop.dispose();
  }
}

async function reply(host: NodeJS.Process, text: string): Promise<ExitCode> {
  const { print } = await import('./output.ts');
  await print(host.stdout, text);
  return EXIT.ok;
}

function causes(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${causes(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}
