import { type ChildProcess, spawn } from 'node:child_process';
import { endOf, killGroup, type ProcessEnd } from '../../host/process-group.ts';
import { errnoOf, isDenied, isOutOfResources } from '../../lib/errno.ts';
import { LineSplitter } from '../../protocol/splitter.ts';
import { childLine, type StreamLine } from '../../protocol/stream-line.ts';
import type { ChildReason } from '../../protocol/wire.ts';
import { classifyStart, lacksCause, shortMessage } from './classify.ts';
import type { Launch } from './launch.ts';
import type { ChildFaults } from './simulation.ts';
import { StderrTail } from './stderr-tail.ts';

export interface ChildTiming {
  /** Longest time from the start to the ready record. */
  readyMs: number;
  /** Longest time without a line after that; a heartbeat is printed each second. */
  silenceMs: number;
  /** How long a child may take to end after SIGINT before it is killed. */
  stopMs: number;
}

export interface ChildOptions {
  launch: Launch;
  program: string;
  timing: ChildTiming;
  onLine: (line: StreamLine) => void;
  /** Called for the ready record: all probes are attached. */
  onReady?: () => void;
  /** Faults to inject between the child and `onLine`. */
  faults?: ChildFaults | undefined;
  /** Called when a line was dropped: it was too long or incomplete. */
  onDropped?: () => void;
}

export interface ChildEnd {
  reason: ChildReason;
  message: string;
  ready: boolean;
  /** Its stderr, bounded. */
  stderr: string;
  /** Exit code; null if a signal ended it or it did not start. */
  code: number | null;
}

const CHECKS_PER_LIMIT = 10;

/** One bpftrace process: starts it, detects ready and silence, stops it. Its output is always read to the end. */
export class BpftraceChild {
  readonly #options: ChildOptions;
  readonly #stderr = new StderrTail();
  #process: ChildProcess | null = null;
  #ready = false;
  #linesSeen = 0;
  #stopping: { reason: ChildReason; message: string } | null = null;
  #killTimer: NodeJS.Timeout | undefined;

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts the process. Resolves when it has ended and all its output was read. Never rejects. To be called once. */
  async run(): Promise<ChildEnd> {
    const splitter = new LineSplitter({
      onLine: (line) => this.#takeLine(childLine(line)),
      onDropped: () => this.#options.onDropped?.(),
    });
    const end = await this.#runOnce(['-f', 'json', '-B', 'line', '-'], (chunk) => splitter.push(chunk));
    splitter.end();
    if (this.#stopping === null && !this.#ready && end.code !== 0 && lacksCause(this.#stderr.text())) {
      await this.#collectLibbpfWarnings();
    }
    clearTimeout(this.#killTimer);
    return { ...this.#judge(end), ready: this.#ready, stderr: this.#stderr.text(), code: end.code };
  }

  async #runOnce(args: readonly string[], onOutput: (chunk: Buffer) => void): Promise<ProcessEnd> {
    const { launch, program } = this.#options;
    const [command = '', ...rest] = [...launch.guard, launch.path, ...args];
    let watch: NodeJS.Timeout | undefined;
    try {
      // In a separate session and process group: Ctrl-C signals only this process, which then stops the child and its
      // descendants.
      const child = spawn(command, rest, { env: launch.env, detached: true, stdio: 'pipe' });
      const ended = endOf(child);
      this.#process = child;
      if (this.#stopping !== null) this.#interrupt();
      watch = this.#watch();
      // Without free descriptors for the pipes, the child has no streams.
      child.stdout?.on('data', onOutput);
      child.stderr?.on('data', (chunk: Buffer) => this.#stderr.push(chunk));
      child.stdin?.on('error', () => {}); // EPIPE: it ended before it read its program. Its exit gives the cause.
      child.stdin?.end(program);
      return await ended;
    } catch (error) {
      return { code: null, signal: null, error: error as NodeJS.ErrnoException };
    } finally {
      clearInterval(watch);
    }
  }

  /**
   * bpftrace 0.24 and later do not print why a kprobe cannot be attached. No version prints why an object cannot be
   * loaded. So this runs the same program again as a dry run with libbpf's log, and adds the warnings to stderr.
   */
  async #collectLibbpfWarnings(): Promise<void> {
    const output = new StderrTail();
    await this.#runOnce(['-d', 'libbpf', '--dry-run', '-'], (chunk) => output.push(chunk));
    const warnings = output
      .text()
      .split('\n')
      .filter((line) => /^\[WARN\] libbpf: /.test(line));
    if (warnings.length > 0) this.#stderr.push(Buffer.from(`\n${warnings.join('\n')}\n`));
  }

  /** Sends SIGINT, and SIGKILL after `stopMs`. run() resolves when the process has ended. Later calls do nothing. */
  stop(reason: ChildReason = 'stopped', message = 'stopped by the tracer'): void {
    if (this.#stopping !== null) return;
    this.#stopping = { reason, message };
    this.#interrupt();
    this.#killTimer = setTimeout(() => this.#kill(), this.#options.timing.stopMs);
  }

  /**
   * Signals bpftrace alone: it detaches its probes, prints the remaining output and ends. endOf() then kills its
   * descendants.
   */
  #interrupt(): void {
    if (this.#isRunning()) this.#process?.kill('SIGINT');
  }

  #kill(): void {
    if (this.#process !== null && this.#isRunning()) killGroup(this.#process);
  }

  #isRunning(): boolean {
    return this.#process?.exitCode === null && this.#process.signalCode === null;
  }

  #takeLine(line: StreamLine): void {
    this.#linesSeen++;
    const { faults, onLine } = this.#options;
    if (faults === undefined) onLine(line);
    else for (const passed of faults.pass(line)) onLine(passed);
    if (faults?.crashes()) this.#kill();
    if (this.#ready || line.record.type !== 'ready') return;
    this.#ready = true;
    this.#options.onReady?.();
  }

  /** Counts checks without a line instead of time, so that a suspend or a busy event loop does not count as silence. */
  #watch(): NodeJS.Timeout {
    const { readyMs, silenceMs } = this.#options.timing;
    const step = Math.min(readyMs, silenceMs) / CHECKS_PER_LIMIT;
    let seen = 0;
    let quiet = 0;
    return setInterval(() => {
      if (this.#ready && this.#linesSeen !== seen) quiet = 0;
      else quiet++;
      seen = this.#linesSeen;
      if (this.#ready && quiet * step >= silenceMs) {
        this.stop('hung', `no line for ${silenceMs / 1000} s`);
      } else if (!this.#ready && quiet * step >= readyMs) {
        this.stop('start_failed', `not ready within ${readyMs / 1000} s`);
      }
    }, step);
  }

  #judge(end: ProcessEnd): { reason: ChildReason; message: string } {
    if (this.#stopping !== null) return this.#stopping;
    if (end.error !== null) return notStarted(end.error);
    const cause = shortMessage(this.#stderr.text());
    const how = end.signal !== null ? `ended by ${end.signal}` : `exited with ${end.code}`;
    const message = cause === '' ? how : `${how}: ${cause}`;
    if (end.signal !== null) return { reason: 'killed', message };
    return { reason: this.#ready ? 'crashed' : classifyStart(this.#stderr.text()), message };
  }
}

function notStarted(error: NodeJS.ErrnoException): { reason: ChildReason; message: string } {
  const message = `not started: ${error.message}`;
  if (isOutOfResources(errnoOf(error))) return { reason: 'resources', message };
  return { reason: isDenied(error) ? 'permission' : 'start_failed', message };
}
