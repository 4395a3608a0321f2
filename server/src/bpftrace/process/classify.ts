import { isOutOfResources } from '../../lib/errno.ts';
import type { ChildReason } from '../../protocol/wire.ts';

const MESSAGE_LENGTH = 1000;

/** Errors of bpftrace 0.23 to 0.27 when it cannot start; the first match is used. */
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
    /No matches for |No BTF found for |BTF data for the function not found|function not traceable|Could not resolve symbol|Probe does not exist/,
    'function_missing',
  ],
  [/stdin:\d+(?:[:-]\d+)*: ERROR|syntax error/, 'compile_error'],
];

/** bpftrace prints this only with a log of the verifier (BpfBytecode::load_progs), so this program is at fault. */
const REJECTED_PROGRAM = /Error loading (?:BPF )?program|BEGIN PROG LOAD LOG/;
/**
 * 0.23 says `Error attaching probe`, 0.24 and later `Unable to attach probe`; libbpf `failed to create kprobe` or
 * `failed to attach`.
 */
const ATTACH = /Error attaching probe|Unable to attach probe|cannot attach |failed to (?:create|attach)\b/;
/** Printed if there is no log of the verifier: bpftrace does not know the cause. */
const LOAD =
  /Unknown BPF object load failure|Loading BPF object\(s\) failed|BPF program load failed|failed to load object/;

/** Lines of bcc, libbpf and bpftrace that may name the errno; not the warnings of setrlimit. */
const CAUSE =
  /ERROR|libbpf:|cannot attach |create_probe_event|bpf_attach|perf_event_open|ioctl\(PERF_EVENT|\bopen\(\/|failed to (?:create|attach|load|execute)/;
const NO_CAUSE = /couldn't set RLIMIT|^WARNING: /;

/** Texts of strerror(3), in glibc and musl. */
const TEXTS: readonly (readonly [RegExp, string])[] = [
  [/Permission denied/, 'EACCES'],
  [/Operation not permitted/, 'EPERM'],
  [/Device or resource busy|Resource busy/, 'EBUSY'],
  [/Cannot allocate memory|Out of memory/, 'ENOMEM'],
  [/No space left on device/, 'ENOSPC'],
  [/Too many open files in system/, 'ENFILE'],
  [/Too many open files|No file descriptors available/, 'EMFILE'],
  [/Resource temporarily unavailable/, 'EAGAIN'],
  [/No such file or directory|probe entry may not exist/, 'ENOENT'],
  [/No such device/, 'ENODEV'],
  [/Invalid argument/, 'EINVAL'],
  [/Invalid or incomplete multibyte|Illegal byte sequence/, 'EILSEQ'],
  [/Operation not supported/, 'EOPNOTSUPP'],
];
const NUMBERS: Readonly<Record<string, string>> = {
  '1': 'EPERM',
  '2': 'ENOENT',
  '11': 'EAGAIN',
  '12': 'ENOMEM',
  '13': 'EACCES',
  '16': 'EBUSY',
  '19': 'ENODEV',
  '22': 'EINVAL',
  '23': 'ENFILE',
  '24': 'EMFILE',
  '28': 'ENOSPC',
  '84': 'EILSEQ',
  '95': 'EOPNOTSUPP',
  '524': 'EOPNOTSUPP',
};
const SYMBOL = /-(E[A-Z]{3,})\b/;
const NUMBER = /(?:Error code:|err(?:or)?[ =:]+|errno[ =:]+)\s*-?(\d+)\b|: -(\d+)$/;

/**
 * Deduces from its stderr (see StderrTail) why a child ended before it was ready. `function_missing` and
 * `compile_error` are defects of one fragment; the host causes the other reasons.
 */
export function classifyStart(stderr: string): ChildReason {
  const errors = stderr.split('\n').filter((line) => /ERROR|libbpf:/.test(line));
  const text = errors.length > 0 ? errors.join('\n') : stderr;
  const known = PATTERNS.find(([pattern]) => pattern.test(text))?.[1];
  if (known !== undefined && known !== 'compile_error') return known;
  const errno = startErrno(stderr);
  const byErrno = errno === null ? null : reasonOfErrno(errno);
  if (REJECTED_PROGRAM.test(text)) {
    // The verifier also returns EACCES for a read that it does not allow, so EACCES does not show a lack of privilege.
    return byErrno !== null && errno !== 'EACCES' ? byErrno : 'compile_error';
  }
  if (known !== undefined) return known;
  const isAttach = ATTACH.test(stderr);
  if (!isAttach && !LOAD.test(stderr)) return byErrno ?? 'start_failed';
  if (byErrno !== null) return byErrno;
  if (!isAttach) return 'start_failed';
  return errno === null ? 'attach_failed' : 'function_missing';
}

/** The errno that bpftrace, bcc or libbpf prints as the cause; null if none does. */
export function startErrno(stderr: string): string | null {
  for (const line of stderr.split('\n')) {
    if (!CAUSE.test(line) || NO_CAUSE.test(line)) continue;
    const symbol = SYMBOL.exec(line)?.[1];
    if (symbol !== undefined) return symbol;
    const text = TEXTS.find(([pattern]) => pattern.test(line))?.[1];
    if (text !== undefined) return text;
    const [, first, second] = NUMBER.exec(line) ?? [];
    const number = NUMBERS[first ?? second ?? ''];
    if (number !== undefined) return number;
  }
  return null;
}

/**
 * Whether bpftrace reports a failed load or attach without the cause: 0.24 and later do not print the errno of kprobes.
 */
export function lacksCause(stderr: string): boolean {
  return startErrno(stderr) === null && (ATTACH.test(stderr) || LOAD.test(stderr));
}

/** The reason for an errno that the host causes; null if the function or the program may be the cause. */
function reasonOfErrno(errno: string): ChildReason | null {
  if (errno === 'EACCES' || errno === 'EPERM') return 'permission';
  return isOutOfResources(errno) ? 'resources' : null;
}

/** The line of the program that the first error of bpftrace names; null if none is named. */
export function failedLine(stderr: string): number | null {
  // `stdin:9:1-30`, or `stdin:6-9`: lines 6 to 9, of which the last contains the probe.
  const [, first, last] = /stdin:(\d+)(?:-(\d+))?(?::\d+(?:-\d+)?)?: ERROR/.exec(stderr) ?? [];
  const line = last ?? first;
  return line === undefined ? null : Number(line);
}

/** Which of these functions the errors of bpftrace or libbpf name; null if none. */
export function failedFunction(stderr: string, functions: readonly string[]): string | null {
  const text = stderr
    .split('\n')
    .filter((line) => /ERROR|libbpf:/.test(line))
    .join('\n');
  const named = functions.filter((name) => text.includes(name));
  // A name may contain another one: the longest is meant.
  return named.sort((a, b) => b.length - a.length)[0] ?? null;
}

/**
 * A bounded message for people: the errno if it is known, then stderr from the first line that may name a cause, else
 * all.
 */
export function shortMessage(stderr: string): string {
  const lines = stderr.split('\n');
  const first = lines.findIndex((line) => CAUSE.test(line) && !NO_CAUSE.test(line));
  const rest = (first < 0 ? lines : lines.slice(first)).join('\n').trim();
  const errno = startErrno(stderr);
  const text = errno === null || rest.includes(errno) ? rest : `${errno}: ${rest}`;
  return text.length <= MESSAGE_LENGTH ? text : `${text.slice(0, MESSAGE_LENGTH)}...`;
}
