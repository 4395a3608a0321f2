import { TracerError } from '../../lib/errors.ts';
import { type MapName, mapsOfProbe } from '../../protocol/declared.ts';
import { MAPS } from '../../protocol/maps.ts';
import { TAGS } from '../../protocol/tuples.ts';
import type { Dialect, ProbeState } from '../../protocol/wire.ts';
import { type ConditionFacts, explainUnmet, type Term } from './condition.ts';
import { NEVER } from './constants.ts';
import type { Fragment, FragmentSet } from './fragment-set.ts';
import { writtenMaps } from './maps.ts';
import { withPageSize } from './prelude.ts';
import { type Rendered, render, scan } from './render.ts';

/** Facts of the host about the functions and members that the fragments name. */
export interface ProbeFacts {
  /** Module of each wanted function that can be traced, `vmlinux` for the kernel itself. */
  functions: Readonly<Record<string, string>>;
  /** Wanted functions that exist, but that the kernel does not list as traceable. */
  untraceable: readonly string[];
  /** Offset in bits of each wanted `struct.member` that exists. */
  members: Readonly<Record<string, number>>;
  /** Page size of this host, in bytes. */
  pageBytes: number;
  /** Loaded modules with BTF. */
  modules: readonly string[];
  /** Parts of the version, e.g. `[0, 23, 2]`; null if no bpftrace was found. */
  bpftraceVersion: readonly number[] | null;
}

export interface Wanted {
  functions: readonly string[];
  members: readonly string[];
}

export interface Composed {
  program: string;
  /** Whether the program can hand over to another one, or take over from one. */
  gated: boolean;
  probes: ProbeState[];
  dialect: Dialect;
  parts: Part[];
}

/** Where a fragment is in the program: maps an error of bpftrace to the fragment that causes it. */
interface Part {
  probe: string;
  /** Lines of the program, from 1, both inclusive. */
  firstLine: number;
  lastLine: number;
  functions: string[];
}

/** Functions and members that distinguish the dialects, in addition to those that the fragments name. */
const BIND = 'kvm_vfio_dmabuf_bind';
const EXPORT = 'vfio_pci_core_feature_dma_buf';
const DIALECT_FUNCTIONS = [BIND, EXPORT, 'dma_buf_export'];
const PRIVATE_FLAG = 'vfio_dma_buf_data.is_private';
const OWNER_OF_BUFFER = 'vfio_dma_buf_data.kvm';
/** The gate of a program that counts all calls from its start, and that of a standby. */
const OPEN_GATE = '@gated = (uint64)0; @gate_from = (uint64)0;';
const CLOSED_GATE = `@gated = (uint64)1; @gate_from = (uint64)${NEVER};`;

/** The functions and members that the fragments name: inspectHost() looks them up on the host. */
export function wantedBy(set: FragmentSet): Wanted {
  const functions = new Set(DIALECT_FUNCTIONS);
  const members = new Set([PRIVATE_FLAG, OWNER_OF_BUFFER]);
  const note = (terms: readonly Term[]): void => {
    for (const atom of terms.flatMap((term) => term.atoms)) {
      if (atom.kind === 'function') functions.add(atom.name);
      if (atom.kind === 'member') members.add(atom.name);
      if (atom.kind === 'named') note(atom.terms);
    }
  };
  for (const terms of set.prelude.conditions.values()) note(terms);
  const fragments = [...set.probes, ...set.oneshots.values()];
  for (const fragment of fragments) note(fragment.needs);
  for (const source of [...fragments, ...set.snippets.values()]) {
    const found = scan(source, set.prelude.conditions);
    note(found.terms);
    for (const name of found.functions) functions.add(name);
    for (const name of found.members) members.add(name);
  }
  return { functions: [...functions].sort(), members: [...members].sort() };
}

/**
 * The dialect of the kernel, deduced from its functions and members and not from its version:
 * - `private-v1`: a buffer has a member for its privacy;
 * - `private-v2`: a buffer has a member for its VM, or KVM binds buffers;
 * - `mainline`: VFIO exports buffers;
 * - `core`: dma-bufs without VFIO;
 * - `none`: not even the dma-buf core can be traced.
 *
 * KVM's lookup of a buffer does not matter for the dialect: the probes read the privacy from the buffer.
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
 * Composes the long-running program: a block that prints `ready`, the fragments that fit this host, the heartbeat with
 * the counters.
 *
 * @param excluded fragments that bpftrace has rejected on this host, with the reason
 */
export function compose(
  facts: ProbeFacts,
  set: FragmentSet,
  excluded: ReadonlyMap<string, string> = new Map(),
): Composed {
  const handover = set.prelude.conditions.get('handover');
  const gated = handover !== undefined && explainUnmet(handover, conditionFacts(facts)) === null;
  let program = `${CONFIG}\n${readyBlock(gated)}\n`;
  const chosen = chooseFragments(facts, set, excluded, program);
  const kept = chosen.filter(({ reason }) => reason === null);
  const parts: Part[] = [];
  for (const { fragment, rendered } of kept) {
    const text = createKeysFirst(rendered.text, mapsOfProbe(fragment.name));
    const firstLine = program.split('\n').length;
    program += `// ${fragment.file}\n${text.trim()}\n\n`;
    parts.push({
      probe: fragment.name,
      firstLine,
      lastLine: program.split('\n').length - 1,
      functions: rendered.functions.map((found) => found.function),
    });
  }
  const maps = new Set(kept.flatMap(({ fragment }) => mapsOfProbe(fragment.name)));
  program += heartbeatBlock(textOf(kept), maps, gated);
  const probes = chosen.flatMap(({ fragment, rendered, reason }) => statesOf(fragment, rendered, reason));
  return { program, gated, probes, dialect: dialectOf(facts), parts };
}

interface Chosen {
  fragment: Fragment;
  rendered: Rendered;
  /** Why the fragment is left out; null if it is kept. */
  reason: string | null;
}

/**
 * Renders all fragments and decides which are kept. What is kept depends on the maps that kept lines write. So the first
 * pass takes all maps as written, and each further pass those that the pass before has written, until none is lost.
 *
 * @param before the part of the program before the fragments, which writes maps too
 */
function chooseFragments(
  facts: ProbeFacts,
  set: FragmentSet,
  excluded: ReadonlyMap<string, string>,
  before: string,
): Chosen[] {
  const prelude = withPageSize(set.prelude, facts.pageBytes);
  let written: ReadonlySet<string> | undefined;
  for (;;) {
    const conditions = conditionFacts(facts, written);
    const chosen = set.probes.map((fragment) => {
      const rendered = render(fragment, set.snippets, prelude, conditions);
      const reason = whyLeftOut(fragment, rendered, conditions) ?? excluded.get(fragment.name) ?? null;
      return { fragment, rendered, reason };
    });
    const now = writtenMaps(before + textOf(chosen.filter(({ reason }) => reason === null)));
    if (now.size === written?.size) return chosen;
    written = now;
  }
}

function textOf(kept: readonly Chosen[]): string {
  return kept.map(({ rendered }) => rendered.text).join('\n');
}

/** Composes a separate program, e.g. `snapshot`; returns the reason if this host cannot run it. */
export function composeOneshot(
  name: string,
  facts: ProbeFacts,
  set: FragmentSet,
): { program: string } | { reason: string } {
  const fragment = set.oneshots.get(name);
  if (fragment === undefined) {
    throw new TracerError('invariant_broken', `there is no one-shot program "${name}"`, {
      where: 'probes/oneshot',
    });
  }
  const conditions = conditionFacts(facts);
  const prelude = withPageSize(set.prelude, facts.pageBytes);
  const rendered = render(fragment, set.snippets, prelude, conditions);
  const reason = whyLeftOut(fragment, rendered, conditions);
  return reason === null ? { program: `${CONFIG}\n${rendered.text.trim()}\n` } : { reason };
}

/**
 * Creates the key of a counter, with the value zero, before the program counts. If two processors create the same key
 * at once, one of them fails with EEXIST and loses its value. With this extra statement, the lost value is always the
 * zero.
 */
function createKeysFirst(text: string, maps: readonly string[]): string {
  return text.replace(COUNTED, (statement, target: string, map: string, added: string | undefined) =>
    maps.includes(map) ? `${target} = sum((uint64)0); ${target} = sum(${added ?? '(uint64)1'});` : statement,
  );
}

/** What the composer changes in the text of the fragments, for a reader of the program. */
export const CHANGES: readonly string[] = [
  'Composed from the fragments in probes/ (probes/README.md). The composer has made these changes:',
  '- Each `@map[key] = count();` of a counter is two statements here. The first creates the key with the value zero,',
  '  because one of two processors that create the same key at once loses its value. It is the zero that is lost then.',
  '- A constant (ENODEV, REASON_REVOKED, PAGE_SIZE) is its value, and a snippet is its text.',
  '- What this host does not have is left out.',
];

const COUNTED = /(@(\w+)\[[^\]]*\]) = (?:count\(\)|sum\(([^;]*)\));/g;

/** `written`: the maps that kept lines write; undefined if all are taken as written. */
function conditionFacts(facts: ProbeFacts, written?: ReadonlySet<string>): ConditionFacts {
  return {
    moduleOf: (name) => (Object.hasOwn(facts.functions, name) ? facts.functions[name] : undefined),
    isUntraceable: (name) => facts.untraceable.includes(name),
    hasModule: (name) => facts.modules.includes(name),
    bitsOf: (path) => (Object.hasOwn(facts.members, path) ? facts.members[path] : undefined),
    isWritten: (map) => written?.has(map) ?? true,
    dialect: dialectOf(facts),
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

/**
 * One state for each function on a kept line. A fragment without functions has one state, named by `hooks` of its
 * header.
 */
function statesOf(fragment: Fragment, rendered: Rendered, reason: string | null): ProbeState[] {
  const state = { probe: fragment.name, attached: reason === null, reason };
  const states = [
    ...rendered.functions.map((found) => ({ ...state, ...found })),
    ...rendered.missing.map((names) => ({ ...state, function: names, module: null })),
  ];
  return states.length > 0 ? states : [{ ...state, function: fragment.hooks, module: null }];
}

/**
 * bpftrace up to 0.23 does not read these settings from the environment. With `missing_probes = "error"`, bpftrace does
 * not start if it cannot attach a probe, so a probe that is reported as attached is attached.
 */
const CONFIG = 'config = { missing_probes = "error"; print_maps_on_exit = 0 }\n';

/**
 * Counts once itself, so that `@emitted` and `@lines` exist before the first event: otherwise bpftrace 0.27 prints a
 * message each second. The heartbeat subtracts this one.
 */
function readyBlock(gated: boolean): string {
  const gate = [
    '  @self = (uint64)curtask;',
    '  @slack = (uint64)((struct task_struct *)curtask)->timer_slack_ns;',
    '  @arrived[(uint64)0] = ((uint64)0, (uint64)0);',
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
 * Prints the heartbeat, all counters, and the end of the read, each second. The program reads the counters in the
 * kernel and not with bpftrace's print(@map): its map lookups disable the probes of their CPU, so calls in that time
 * would not be counted. A map without a write (a condition has removed all of them) is left out: bpftrace rejects a map
 * that is never written.
 */
function heartbeatBlock(text: string, maps: ReadonlySet<MapName>, gated: boolean): string {
  const written = writtenMaps(text);
  const counters = [...maps].filter((map) => written.has(`@${map}`)).sort();
  return [
    'interval:s:1 {',
    ...(gated ? gateLines(text) : []),
    `  print((${TAGS.heartbeat}, nsecs / 1000, (int64)@emitted - 1));`,
    ...counters.map((map) => {
      const line = `print((${TAGS.counter}, ${MAPS[map].number}, $kv.0, (int64)$kv.1));`;
      return `  for ($kv : @${map}) { ${line} @lines = count(); }`;
    }),
    `  print((${TAGS.read_end}, nsecs / 1000, (int64)@lines - 1));`,
    '}',
    '',
  ].join('\n');
}

/**
 * Reads the gate command, which sets from when or until when this program counts. The collector writes it to the timer
 * slack of the bpftrace process (/proc/PID/timerslack_ns). Bits 20 and up are the command: 1 is `from`, 2 `until`, 3
 * `from_the_beginning`. Bits 0 to 19 are the low bits of a second of the clock of last_arrival; of all seconds with
 * these bits, the nearest to now is meant. While the gate limits the program, it prints one `in_flight` record for each
 * call in flight.
 */
function gateLines(text: string): string[] {
  const calls = [...writtenMaps(text)].filter((map) => map.endsWith('_call')).sort();
  return [
    '  $slack = (uint64)((struct task_struct *)@self)->timer_slack_ns;',
    '  if ($slack != @slack) {',
    '    @slack = $slack;',
    '    $now = (uint64)nsecs / 1000000000;',
    '    $at = ($now & 0x7ffffff00000) + ($slack & 0xfffff);',
    '    if ($at + 524288 < $now) { $at = $at + 1048576; }',
    '    if ($at > $now + 524288) { $at = $at - 1048576; }',
    '    @gated = (uint64)1;',
    '    if (($slack >> 20) == 1) { @gate_from = $at * 1000000000; }',
    '    if (($slack >> 20) == 2) { @gate_until = $at * 1000000000; }',
    '    if (($slack >> 20) == 3) {',
    '      @gate_from = (uint64)0; @gated = (uint64)0;',
    '      for ($kv : @arrived) { delete(@arrived[$kv.0]); }',
    '    }',
    '  }',
    '  if (@gated) {',
    `    print((${TAGS.gate}, nsecs / 1000, (uint64)0, @gate_from, @gate_until));`,
    ...calls.map((map) => `    for ($kv : ${map}) { print((${TAGS.in_flight}, nsecs / 1000)); }`),
    '  }',
  ];
}

/** The same program as a standby: it counts nothing until it gets the command `from`. */
export function standby(program: string): string {
  return program.replace(OPEN_GATE, CLOSED_GATE);
}
