import { type ChildProcess, spawn } from 'node:child_process';
import { maskLine } from '../../stream/decode.ts';
import { LineSplitter } from '../../stream/splitter.ts';
import type { ChildReason } from '../../stream/wire.ts';
import { classifyStart, shortMessage } from './classify.ts';
import type { Launch } from './launch.ts';
import type { ChildFaults } from './simulation.ts';
import { StderrTail } from './stderr-tail.ts';

export interface ChildTiming {
  /** Longest time to the ready record. */
  readyMs: number;
  /** Longest time without a line after it; the heartbeat comes each second. */
  silenceMs: number;
  /** How long a child may take to end after SIGINT before it is killed. */
  stopMs: number;
}

export interface ChildOptions {
  launch: Launch;
  program: string;
  timing: ChildTiming;
  onLine: (line: string) => void;
  /** The ready record has come: everything is attached. */
  onReady?: () => void;
  /** Faults to make between the child and `onLine`. */
  faults?: ChildFaults | undefined;
  /** A line was too long or cut short. */
  onDropped?: () => void;
}

export interface ChildEnd {
  reason: ChildReason;
  message: string;
  ready: boolean;
  /** What it wrote to stderr, bounded. */
  stderr: string;
  /** 0 where it ended well by itself. */
  code: number | null;
}

const READY = /^\{"type": ?"value", ?"data": ?\[0,/;
/** After its exit something else may hold a child's pipes: they are not waited for longer than this. */
const PIPES_MS = 2000;
const CHECKS_PER_LIMIT = 10;

/** The life of one bpftrace: spawned, ready, watched for silence, stopped. Its output is read whatever happens. */
export class BpftraceChild {
  private readonly options: ChildOptions;
  private readonly stderr = new StderrTail();
  private process: ChildProcess | null = null;
  private ready = false;
  private linesSeen = 0;
  private stopping: { reason: ChildReason; message: string } | null = null;
  private killTimer: NodeJS.Timeout | undefined;

  constructor(options: ChildOptions) {
    this.options = options;
  }

  get pid(): number | undefined {
    return this.process?.pid;
  }

  /** Starts it and resolves when it has ended and all its output was read. Never rejects. To be called once. */
  async run(): Promise<ChildEnd> {
    const { launch, program } = this.options;
    const [command = '', ...args] = [...launch.guard, launch.path, '-f', 'json', '-B', 'line', '-'];
    let end: { code: number | null; signal: NodeJS.Signals | null; error: Error | null };
    let watch: NodeJS.Timeout | undefined;
    try {
      // A session of its own: a Ctrl-C at our terminal is for us, and we stop the child.
      const child = spawn(command, args, { env: launch.env, detached: true, stdio: 'pipe' });
      this.process = child;
      if (this.stopping !== null) this.signal('SIGINT');
      watch = this.watch();
      const splitter = new LineSplitter({
        onLine: (line) => this.takeLine(line),
        onDropped: () => this.options.onDropped?.(),
      });
      child.stdout.on('data', (chunk: Buffer) => splitter.push(chunk));
      child.stderr.on('data', (chunk: Buffer) => this.stderr.push(chunk));
      child.stdin.on('error', () => {}); // It ended before it had read its program: its exit tells why.
      child.stdin.end(program);
      end = await ended(child);
      splitter.end();
    } catch (error) {
      end = { code: null, signal: null, error: error as Error };
    }
    clearInterval(watch);
    clearTimeout(this.killTimer);
    return { ...this.judge(end), ready: this.ready, stderr: this.stderr.text(), code: end.code };
  }

  /** Asks it to end, and kills it if it does not; run() tells when it has. May be called again. */
  stop(reason: ChildReason = 'stopped', message = 'stopped by the tracer'): void {
    if (this.stopping !== null) return;
    this.stopping = { reason, message };
    this.signal('SIGINT');
    this.killTimer = setTimeout(() => this.signal('SIGKILL'), this.options.timing.stopMs);
  }

  private signal(name: NodeJS.Signals): void {
    const child = this.process;
    if (child?.exitCode === null && child.signalCode === null) child.kill(name);
  }

  private takeLine(line: string): void {
    this.linesSeen++;
    const { faults, onLine } = this.options;
    for (const passed of faults?.pass(line) ?? [line]) onLine(maskLine(passed));
    if (faults?.crashes()) this.signal('SIGKILL');
    if (this.ready || !READY.test(line)) return;
    this.ready = true;
    this.options.onReady?.();
  }

  /** Counts checks without a line rather than time, so that neither a suspend nor a busy loop of ours looks like silence. */
  private watch(): NodeJS.Timeout {
    const { readyMs, silenceMs } = this.options.timing;
    const step = Math.min(readyMs, silenceMs) / CHECKS_PER_LIMIT;
    let seen = 0;
    let quiet = 0;
    return setInterval(() => {
      if (this.ready && this.linesSeen !== seen) quiet = 0;
      else quiet++;
      seen = this.linesSeen;
      if (this.ready && quiet * step >= silenceMs) {
        this.stop('hung', `no line for ${silenceMs / 1000} s`);
      } else if (!this.ready && quiet * step >= readyMs) {
        this.stop('start_failed', `not ready within ${readyMs / 1000} s`);
      }
    }, step);
  }

  private judge(end: { code: number | null; signal: NodeJS.Signals | null; error: Error | null }): {
    reason: ChildReason;
    message: string;
  } {
    if (this.stopping !== null) return this.stopping;
    if (end.error !== null) return { reason: 'start_failed', message: `not started: ${end.error.message}` };
    const said = shortMessage(this.stderr.text());
    const how = end.signal !== null ? `ended by ${end.signal}` : `exited with ${end.code}`;
    const message = said === '' ? how : `${how}: ${said}`;
    if (end.signal !== null) return { reason: 'killed', message };
    return { reason: this.ready ? 'crashed' : classifyStart(this.stderr.text()), message };
  }
}

function ended(
  child: ChildProcess,
): Promise<{ code: number | null; signal: NodeJS.Signals | null; error: Error | null }> {
  return new Promise((resolve) => {
    let error: Error | null = null;
    let pipes: NodeJS.Timeout | undefined;
    child.on('error', (cause) => {
      error ??= cause;
      if (child.pid === undefined) resolve({ code: null, signal: null, error });
    });
    child.on('exit', () => {
      pipes = setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
      }, PIPES_MS);
    });
    child.on('close', (code, signal) => {
      clearTimeout(pipes);
      resolve({ code, signal, error: child.pid === undefined ? error : null });
    });
  });
}
