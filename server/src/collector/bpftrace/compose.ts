import { TAGS } from '../../stream/codes.ts';
import { MAP_NAMES } from '../../stream/maps.ts';
import type { Dialect, ProbeState } from '../../stream/wire.ts';
import { TracerError } from '../../support/errors.ts';
import { type ConditionFacts, explainUnmet, type Term } from './condition.ts';
import type { Fragment, FragmentSet } from './fragment.ts';
import { type Rendered, render, scan } from './render.ts';

/** What the host said of the functions and members that the fragments ask for. */
export interface ProbeFacts {
  /** Module of each wanted function that can be traced, `vmlinux` for the kernel itself. */
  functions: Readonly<Record<string, string>>;
  /** Wanted functions that exist but that the kernel does not list as traceable. */
  untraceable: readonly string[];
  /** Offset in bits of each wanted `struct.member` that exists. */
  members: Readonly<Record<string, number>>;
  /** Bytes of a page of this host's memory. */
  pageBytes: number;
  /** Loaded modules with type information. */
  modules: readonly string[];
  /** Parts of the version, e.g. `[0, 23, 2]`; null where no bpftrace was found. */
  bpftraceVersion: readonly number[] | null;
}

export interface Wanted {
  functions: readonly string[];
  members: readonly string[];
}

export interface Composed {
  program: string;
  /** Whether it can hand over to another program, or take over from one. */
  gated: boolean;
  probes: ProbeState[];
  dialect: Dialect;
  parts: Part[];
}

/** A fragment in the program: to find whose fault it is where bpftrace rejects the whole. */
export interface Part {
  probe: string;
  /** Lines of the program, from 1, both included. */
  firstLine: number;
  lastLine: number;
  functions: string[];
}

/** What distinguishes the dialects, in addition to what the fragments themselves name. */
const BIND = 'kvm_vfio_dmabuf_bind';
const EXPORT = 'vfio_pci_core_feature_dma_buf';
const DIALECT_FUNCTIONS = [BIND, EXPORT, 'dma_buf_export'];
const PRIVATE_FLAG = 'vfio_dma_buf_data.is_private';
const OWNER_OF_BUFFER = 'vfio_dma_buf_data.kvm';
/** What two programs need to hand over: when a task came onto its processor, and a number that the collector can set. */
const GATE_MEMBERS = ['task_struct.sched_info', 'sched_info.last_arrival', 'task_struct.timer_slack_ns'];
/** No time of any clock is as late. */
const NEVER = '0x7fffffffffffffff';
const OPEN_GATE = '@gate_from = (uint64)0;';

/** The functions and members that the host has to be asked about, scanned from the fragments. */
export function wantedBy(set: FragmentSet): Wanted {
  const functions = new Set(DIALECT_FUNCTIONS);
  const members = new Set([PRIVATE_FLAG, OWNER_OF_BUFFER, ...GATE_MEMBERS]);
  const note = (terms: readonly Term[]): void => {
    for (const { kind, name } of terms.flatMap((term) => term.atoms)) {
      if (kind === 'function') functions.add(name);
      if (kind === 'member') members.add(name);
    }
  };
  const fragments = [...set.probes, ...set.oneshots.values()];
  for (const fragment of fragments) note(fragment.needs);
  for (const source of [...fragments, ...set.snippets.values()]) {
    const found = scan(source);
    note(found.terms);
    for (const name of found.functions) functions.add(name);
    for (const name of found.members) members.add(name);
  }
  return { functions: [...functions].sort(), members: [...members].sort() };
}

/**
 * Which of the kinds of kernel this is, by what the kernel does: a buffer that keeps its privacy (`private-v1`), a buffer that keeps its VM
 * or a KVM that binds buffers (`private-v2`), exports (`mainline`), dma-bufs without VFIO (`core`); `none` where not even the dma-buf core can be
 * traced. Whether KVM looks a buffer up before it accepts it makes no dialect: the probes judge by the buffer.
 */
export function dialectOf(facts: ProbeFacts): Dialect {
  const has = (name: string): boolean => Object.hasOwn(facts.functions, name);
  const knows = (path: string): boolean => Object.hasOwn(facts.members, path);
  if (knows(PRIVATE_FLAG)) return 'private-v1';
  if (knows(OWNER_OF_BUFFER) || has(BIND)) return 'private-v2';
  if (has(EXPORT)) return 'mainline';
  return has('dma_buf_export') ? 'core' : 'none';
}

/**
 * The long-running program: ready print, kept fragments in order, heartbeat with the counters. `excluded` are fragments
 * that this host has rejected, with the reason.
 */
export function compose(
  facts: ProbeFacts,
  set: FragmentSet,
  excluded: ReadonlyMap<string, string> = new Map(),
): Composed {
  const conditions = conditionFacts(facts);
  const probes: ProbeState[] = [];
  const parts: Part[] = [];
  const kept: { fragment: Fragment; text: string }[] = [];
  const gated = GATE_MEMBERS.every((path) => conditions.bitsOf(path) !== undefined);
  let program = `${CONFIG}\n${readyBlock(gated)}\n`;
  for (const fragment of set.probes) {
    const rendered = render(fragment, set.snippets, conditions);
    const reason = whyLeftOut(fragment, rendered, conditions) ?? excluded.get(fragment.name) ?? null;
    probes.push(...statesOf(fragment, rendered, reason));
    if (reason !== null) continue;
    const text = withKeyFirst(rendered.text, fragment.maps);
    kept.push({ fragment, text });
    const firstLine = program.split('\n').length;
    program += `// ${fragment.file}\n${text.trim()}\n\n`;
    parts.push({
      probe: fragment.name,
      firstLine,
      lastLine: program.split('\n').length - 1,
      functions: rendered.functions.map((found) => found.function),
    });
  }
  program += heartbeatBlock(kept, gated);
  return { program, gated, probes, dialect: conditions.dialect, parts };
}

/** A program of its own, e.g. `snapshot`; the reason where this host cannot run it. */
export function composeOneshot(
  name: string,
  facts: ProbeFacts,
  set: FragmentSet,
): { program: string } | { reason: string } {
  const fragment = set.oneshots.get(name);
  if (fragment === undefined) {
    throw new TracerError('invariant_broken', `there is no program called "${name}"`, {
      where: 'probes/oneshot',
    });
  }
  const conditions = conditionFacts(facts);
  const rendered = render(fragment, set.snippets, conditions);
  const reason = whyLeftOut(fragment, rendered, conditions);
  return reason === null ? { program: `${CONFIG}\n${rendered.text.trim()}\n` } : { reason };
}

/**
 * Makes the key of a counter before it counts. bpftrace adds a key that it did not find only if it is still not there: of two
 * processors that meet a new key at once, one fails with EEXIST and its count is lost. Adding zero first, it is zero that
 * is lost.
 */
function withKeyFirst(text: string, maps: readonly string[]): string {
  return text.replace(COUNTED, (statement, target: string, map: string, added: string | undefined) =>
    maps.includes(map) ? `${target} = sum((uint64)0); ${target} = sum(${added ?? '(uint64)1'});` : statement,
  );
}

const COUNTED = /((@\w+)\[[^\]]*\]) = (?:count\(\)|sum\(([^;]*)\));/g;

function conditionFacts(facts: ProbeFacts): ConditionFacts {
  return {
    moduleOf: (name) => (Object.hasOwn(facts.functions, name) ? facts.functions[name] : undefined),
    isUntraceable: (name) => facts.untraceable.includes(name),
    hasModule: (name) => facts.modules.includes(name),
    bitsOf: (path) => (Object.hasOwn(facts.members, path) ? facts.members[path] : undefined),
    dialect: dialectOf(facts),
    pageBytes: facts.pageBytes,
    bpftrace: facts.bpftraceVersion,
  };
}

function whyLeftOut(fragment: Fragment, rendered: Rendered, facts: ConditionFacts): string | null {
  const reason = explainUnmet(fragment.needs, facts);
  if (reason !== null) return reason;
  const term = (kind: 'function' | 'member', names: readonly string[]): Term => ({
    negated: false,
    atoms: names.map((name) => ({ kind, name })),
  });
  const terms = [
    ...rendered.missing.map((names) => term('function', names.split('|'))),
    ...rendered.missingMembers.map((name) => term('member', [name])),
  ];
  return explainUnmet(terms, facts);
}

/** One state for each function on a kept line; a fragment without any is reported by what its header calls hooks. */
function statesOf(fragment: Fragment, rendered: Rendered, reason: string | null): ProbeState[] {
  const state = { probe: fragment.name, attached: reason === null, reason };
  const states = [
    ...rendered.functions.map((found) => ({ ...state, ...found })),
    ...rendered.missing.map((names) => ({ ...state, function: names, module: null })),
  ];
  return states.length > 0 ? states : [{ ...state, function: fragment.hooks, module: null }];
}

/** bpftrace up to 0.23 does not read these from the environment. A probe that cannot be attached must not pass for one that is. */
const CONFIG = 'config = { missing_probes = "error"; print_maps_on_exit = 0 }\n';

/** Counts itself, so that `@emitted` exists where no fragment has written it yet: 0.27 complains each second otherwise. */
function readyBlock(gated: boolean): string {
  const gate = [
    '  @self = (uint64)curtask;',
    '  @slack = (uint64)((struct task_struct *)curtask)->timer_slack_ns;',
    '  @arrived[(uint64)0] = (uint64)0;',
    '  @core_arrived[(uint64)0] = (uint64)0;',
    `  ${OPEN_GATE}`,
    `  @gate_until = (uint64)${NEVER};`,
    `  print((${TAGS.gate}, nsecs / 1000, (uint64)((struct task_struct *)curtask)->sched_info.last_arrival, @gate_from, @gate_until));`,
  ];
  return [
    'BEGIN {',
    '  @emitted = count();',
    '  @lines = count();',
    ...(gated ? gate : []),
    `  print((${TAGS.ready}, nsecs / 1000));`,
    '}',
    '',
  ].join('\n');
}

/**
 * The heartbeat, every counter, and the end of the read. The counters are read here, in the kernel, and not by bpftrace's
 * print(@map): its lookups switch the probes of the CPU off while they run, and a call in that time would be missed. A map
 * whose every write was dropped by a condition is left out: bpftrace rejects a map that it never saw.
 */
function heartbeatBlock(kept: readonly { fragment: Fragment; text: string }[], gated: boolean): string {
  const text = kept.map((part) => part.text).join('\n');
  const maps = new Set(kept.flatMap((part) => part.fragment.maps));
  const written = [...maps].filter((map) => new RegExp(`${map}\\b[^;]*=`).test(text)).sort();
  return [
    'interval:s:1 {',
    ...(gated ? gateLines(text) : []),
    `  print((${TAGS.heartbeat}, nsecs / 1000, (int64)@emitted - 1));`,
    ...written.map((map) => {
      const line = `print((${TAGS.counter}, ${mapNumber(map)}, $kv.0, (int64)$kv.1));`;
      return `  for ($kv : ${map}) { ${line} @lines = count(); }`;
    }),
    `  print((${TAGS.read_end}, nsecs / 1000, (int64)@lines - 1));`,
    '}',
    '',
  ].join('\n');
}

/**
 * The collector sets the timer slack of the bpftrace process (/proc/PID/timerslack_ns) to say from when, or until when, this
 * program counts: bits 20 and up are 1 for `from`, 2 for `until`, 3 for `from the beginning`; the bits below are the
 * second, of the clock of last_arrival, that is nearest to now. What is still in flight when its time is over is told.
 */
function gateLines(text: string): string[] {
  const starts = [...new Set(text.match(/@\w+_start\b/g))].sort();
  return [
    '  $slack = (uint64)((struct task_struct *)@self)->timer_slack_ns;',
    '  if ($slack != @slack) {',
    '    @slack = $slack;',
    '    $now = (uint64)nsecs / 1000000000;',
    '    $at = ($now & 0x7ffffff00000) + ($slack & 0xfffff);',
    '    if ($at + 524288 < $now) { $at = $at + 1048576; }',
    '    if ($at > $now + 524288) { $at = $at - 1048576; }',
    '    if (($slack >> 20) == 1) { @gate_from = $at * 1000000000; }',
    '    if (($slack >> 20) == 2) { @gate_until = $at * 1000000000; }',
    '    if (($slack >> 20) == 3) {',
    '      @gate_from = 0;',
    ...['@arrived', '@core_arrived'].map((map) => `      for ($kv : ${map}) { delete(${map}[$kv.0]); }`),
    '    }',
    '  }',
    `  if (@gate_from != 0 || @gate_until != ${NEVER}) {`,
    `    print((${TAGS.gate}, nsecs / 1000, (uint64)0, @gate_from, @gate_until));`,
    ...starts.map((map) => `    for ($kv : ${map}) { print((${TAGS.in_flight}, nsecs / 1000)); }`),
    '  }',
  ];
}

/** The same program, but it counts nothing until it is told from when on. */
export function standby(program: string): string {
  return program.replace(OPEN_GATE, `@gate_from = (uint64)${NEVER};`);
}

function mapNumber(map: string): number {
  const number = MAP_NAMES.findIndex((name) => `@${name}` === map);
  if (number < 0) {
    throw new TracerError('invariant_broken', `nobody reads the map ${map}`, {
      remedy: 'add it to MAPS in server/src/stream/maps.ts',
    });
  }
  return number;
}
