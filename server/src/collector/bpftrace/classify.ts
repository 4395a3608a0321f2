import type { ChildReason } from '../../stream/wire.ts';

const MESSAGE_LENGTH = 1000;

/** What bpftrace 0.23 to 0.27 write when they cannot start; the first that fits counts. */
const PATTERNS: readonly (readonly [RegExp, ChildReason])[] = [
  [
    /only supports running as the root user|Missing CAP_\w+ capability|query process capabilities/,
    'not_root',
  ],
  [/Kernel lockdown is enabled/, 'lockdown'],
  [
    /BTF data not available|failed to parse BTF from|kernel BTF is missing|Error loading vmlinux BTF/,
    'no_btf',
  ],
  [
    /Failed to open kernel function info|could not read traceable functions|failed to open \/proc\/kallsyms/,
    'no_symbols',
  ],
  [
    /No matches for |No BTF found for |BTF data for the function not found|function not traceable|Error attaching probe|Unable to attach probe|Could not resolve symbol/,
    'function_missing',
  ],
  [
    /stdin:\d+(?:[:-]\d+)*: ERROR|syntax error|Error loading BPF program|Error loading program/,
    'compile_error',
  ],
];

/** Names why a child that never got ready has ended, from what it wrote to stderr (see StderrTail). */
export function classifyStart(stderr: string): ChildReason {
  const errors = errorLines(stderr);
  const text = errors.length > 0 ? errors.join('\n') : stderr;
  return PATTERNS.find(([pattern]) => pattern.test(text))?.[1] ?? 'start_failed';
}

/** Which line of the program bpftrace complains of first; null where it names none. */
export function failedLine(stderr: string): number | null {
  // `stdin:9:1-30`, or `stdin:6-9`: lines 6 to 9, of which the last has the probe.
  const [, first, last] = /stdin:(\d+)(?:-(\d+))?(?::\d+(?:-\d+)?)?: ERROR/.exec(stderr) ?? [];
  const line = last ?? first;
  return line === undefined ? null : Number(line);
}

/** Which of these functions bpftrace names where it says what it could not load or attach; null where none. */
export function failedFunction(stderr: string, functions: readonly string[]): string | null {
  const text = errorLines(stderr).join('\n');
  const named = functions.filter((name) => text.includes(name));
  // A name may hold another one: the longest is meant.
  return named.sort((a, b) => b.length - a.length)[0] ?? null;
}

/** A bounded message for people: the lines with an error and what follows them, or all of it. */
export function shortMessage(stderr: string): string {
  const lines = stderr.split('\n');
  const first = lines.findIndex((line) => /ERROR/.test(line));
  const text = (first < 0 ? lines : lines.slice(first)).join('\n').trim();
  return text.length <= MESSAGE_LENGTH ? text : `${text.slice(0, MESSAGE_LENGTH)}...`;
}

function errorLines(stderr: string): string[] {
  return stderr.split('\n').filter((line) => /ERROR|libbpf:/.test(line));
}
