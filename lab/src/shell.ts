import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A command failed. The message contains the last lines of its output. */
export class CommandError extends Error {
  override name = 'CommandError';
}

export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Called with each line of output while the command runs. */
  onLine?: (line: string) => void;
}

/** Runs a command and resolves with its standard output. @throws CommandError with its last lines if it fails. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    const tail: string[] = [];
    for (const input of [child.stdout, child.stderr]) {
      createInterface({ input }).on('line', (line) => {
        if (line.trim() === '') return;
        options.onLine?.(line);
        tail.push(line);
        if (tail.length > 40) tail.shift();
      });
    }
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk;
    });
    child.on('error', (error) => reject(new CommandError(`${command}: ${error.message}`, { cause: error })));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else
        reject(
          new CommandError(`${command} ${args.join(' ')}: ${signal ?? `exit ${code}`}\n${tail.join('\n')}`),
        );
    });
  });
}

/** Whether the command is on the PATH. */
export function hasCommand(command: string): Promise<boolean> {
  return run('sh', ['-c', `command -v ${command}`]).then(
    () => true,
    () => false,
  );
}
