import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compose, dialectOf, type ProbeFacts, wantedBy } from '../../../src/bpftrace/compiler/compose.ts';
import { parseConditions } from '../../../src/bpftrace/compiler/condition.ts';
import { CODE_CONSTANTS } from '../../../src/bpftrace/compiler/constants.ts';
import { parseFragment } from '../../../src/bpftrace/compiler/fragment.ts';
import type { FragmentSet } from '../../../src/bpftrace/compiler/fragment-set.ts';
import { throwsAt } from './throws-at.ts';

const HEADER = '// name: one\n// hooks: kprobe f\n// needs: -\n';

const NONE = { names: [], where: '' };

function set(probes: Record<string, string>, snippets: Record<string, string> = {}): FragmentSet {
  return {
    probes: Object.entries(probes).map(([name, text]) => parseFragment(`probes/${name}.bt`, text)),
    oneshots: new Map(),
    snippets: new Map(
      Object.entries(snippets).map(([name, text]) => [
        name,
        { file: `probes/snippets/${name}.bt`, inputs: NONE, outputs: NONE, text, firstLine: 1 },
      ]),
    ),
    prelude: {
      constants: CODE_CONSTANTS,
      conditions: parseConditions('both: s.m, fn:g\nboth-and-f: has:both, f'),
    },
  };
}

const facts: ProbeFacts = {
  functions: { f: 'vmlinux', g: 'vfio_pci_core', dma_buf_export: 'vmlinux' },
  untraceable: [],
  members: { 's.m': 8 * 96 + 3 },
  pageBytes: 4096,
  modules: [],
  bpftraceVersion: [0, 23, 2],
};

test('constants become numbers, placeholders become functions and snippets', () => {
  const text = `${HEADER}kprobe:{{fn:none|g}} { {{use:inner}} }\nkretprobe:{{ fn:f }} { $a = REASON_UNALIGNED; }\n`;
  const { program } = compose(
    facts,
    set({ one: text }, { inner: '$b = LAST_BUCKET; //? s.m\n$c = 1; //? !s.m\n' }),
  );
  assert.match(program, /^kprobe:vfio_pci_core:g \{ \$b = 14; \}$/m);
  assert.match(program, /^kretprobe:vmlinux:f \{ \$a = 17; \}$/m);
  assert.doesNotMatch(program, /\{\{|\/\/\?/);
});

test('a member becomes its byte offset and its bit, and a fragment with a missing member is left out', () => {
  const two = HEADER.replace('name: one', 'name: two');
  const { program, probes } = compose(
    facts,
    set({
      one: `${HEADER}kprobe:{{fn:f}} { ($p + {{offset:s.m}}) >> {{ bit:s.m }} }\n{{offset:s.none}} //? s.none\n`,
      two: `${two}kprobe:{{fn:g}} { {{bit:s.none}} }\n`,
    }),
  );
  assert.match(program, /^kprobe:vmlinux:f \{ \(\$p \+ 96\) >> 3 \}$/m);
  assert.deepEqual(
    probes.map(({ probe, reason }) => [probe, reason]),
    [
      ['one', null],
      ['two', 'neither the kernel nor a loaded module has s.none'],
    ],
  );
});

test('the program begins with ready and ends with a heartbeat that reads each written counter', () => {
  const header = (name: string): string => HEADER.replace('name: one', `name: ${name}`);
  const { program } = compose(
    facts,
    set({
      export: `${header('export')}kprobe:{{fn:f}} { @exports[1, 2] = sum(2); @missed[0] = count(); print(@restores); }\n`,
      private: `${header('private_read')}kprobe:{{fn:g}} { @missed[0] = count(); }\n`,
      release: `${header('release')}kprobe:{{fn:g}} { @releases[0] = count(); }\n`,
      revoke: `${header('revoke')}kprobe:{{fn:g}} {\n@restores[1, 2] = count(); //? none\n}\n`,
    }),
  );
  assert.match(
    program,
    /^config = \{ missing_probes = "error"; print_maps_on_exit = 0 \}\n\nBEGIN \{\n {2}@emitted = count\(\);\n {2}@lines = count\(\);\n {2}print\(\(0, nsecs \/ 1000\)\);\n\}\n/,
  );
  assert.equal(
    program.slice(program.indexOf('interval:s:1')),
    [
      'interval:s:1 {',
      '  print((1, nsecs / 1000, (int64)@emitted - 1));',
      '  for ($kv : @exports) { print((13, 0, $kv.0, (int64)$kv.1)); @lines = count(); }',
      '  for ($kv : @missed) { print((13, 18, $kv.0, (int64)$kv.1)); @lines = count(); }',
      '  for ($kv : @releases) { print((13, 5, $kv.0, (int64)$kv.1)); @lines = count(); }',
      '  print((14, nsecs / 1000, (int64)@lines - 1));',
      '}',
      '',
    ].join('\n'),
  );
});

test('a counter adds its key with 0 before it counts, because one of two concurrent inserts of a key loses its value', () => {
  const text = `${HEADER.replace('name: one', 'name: export')}kprobe:{{fn:f}} { if (1) { @exports[$d, 0] = count(); } @export_bytes[$d, 0] = sum($n); @seen[1] = count(); @emitted = count(); }\n`;
  const { program } = compose(facts, set({ one: text }));
  assert.ok(
    program.includes(
      '{ if (1) { @exports[$d, 0] = sum((uint64)0); @exports[$d, 0] = sum((uint64)1); } ' +
        '@export_bytes[$d, 0] = sum((uint64)0); @export_bytes[$d, 0] = sum($n); @seen[1] = count(); @emitted = count(); }',
    ),
    program,
  );
});

test('a heartbeat without counters still prints the end of its read', () => {
  const { program } = compose(facts, set({}));
  assert.ok(
    program.endsWith(
      'interval:s:1 {\n  print((1, nsecs / 1000, (int64)@emitted - 1));\n  print((14, nsecs / 1000, (int64)@lines - 1));\n}\n',
    ),
  );
});

test('conditional lines and blocks are kept if their condition is true', () => {
  const text = `${HEADER}kprobe:{{fn:f}} {
a //? s.m
b //? s.none
//? g {
c
i //? has:both
j //? !has:both-and-f
//? s.none {
d
e //? s.m
//? }
h //? s.m, dialect:core
//? }
}`;
  const { program } = compose(facts, set({ one: text }));
  const lines = program.split('\n').map((line) => line.trim());
  for (const kept of ['a', 'c', 'h', 'i']) assert.ok(lines.includes(kept), kept);
  for (const dropped of ['b', 'd', 'e', 'j']) assert.ok(!lines.includes(dropped), dropped);
});

test('a line that depends on a map is kept only if a kept line writes the map', () => {
  const body = [
    'kprobe:{{fn:f}} {',
    '  if (@a[$t]) { @b[$t] = 1; }',
    '  if (@b[$t]) { delete(@b[$t]); }',
    '  if (@own[(uint64)curtask]) { return; } // why',
    '  @own[(uint64)curtask] = 1;',
    '  if (@a[$t] == 0) { one }',
    '  if (@none[$t]) { one } else { two }',
    '}\n',
  ];
  const writer = `${HEADER.replace('name: one', 'name: two')}kprobe:{{fn:g}} { @a[1] = 1; }\n`;
  const fragments = set({ one: HEADER + body.join('\n'), two: writer });
  const lines = ({ program }: { program: string }): string[] =>
    program.split('\n').filter((line) => /@(a\[\$|b|own|none)/.test(line));
  assert.deepEqual(lines(compose(facts, fragments)), body.slice(1, 7));
  // Without the writer of @a, no line writes @b either.
  const without = compose(facts, fragments, new Map([['two', 'rejected']]));
  assert.deepEqual(lines(without), body.slice(3, 7));
  assert.equal(
    without.parts[0]?.lastLine,
    without.program.split('\n').findIndex((line) => line.startsWith('interval')),
  );
});

test('a fragment whose needs are not met is left out, with a reason for each of its functions', () => {
  const needy = HEADER.replace('name: one', 'name: two').replace('needs: -', 'needs: s.none');
  const { program, probes, parts } = compose(
    facts,
    set({
      one: `${HEADER}kprobe:{{fn:f}} { 1 }\nkprobe:{{fn:h}} { 2 } //? h\n`,
      two: `${needy}kprobe:{{fn:g}} { 3 }\n`,
      three: `${HEADER.replace('name: one', 'name: three')}kprobe:{{fn:missing|gone}} { 4 }\n`,
      four: `${HEADER.replace('name: one', 'name: four').replace('needs: -', 'needs: zap')}tracepoint:x:y { 5 }\n`,
    }),
  );
  assert.deepEqual(probes, [
    { probe: 'one', function: 'f', module: 'vmlinux', attached: true, reason: null },
    {
      probe: 'two',
      function: 'g',
      module: 'vfio_pci_core',
      attached: false,
      reason: 'neither the kernel nor a loaded module has s.none',
    },
    {
      probe: 'three',
      function: 'missing|gone',
      module: null,
      attached: false,
      reason: 'none of the functions missing, gone is in a loaded module',
    },
    {
      probe: 'four',
      function: 'kprobe f',
      module: null,
      attached: false,
      reason: 'function zap is in no loaded module',
    },
  ]);
  assert.deepEqual(
    parts.map((part) => part.probe),
    ['one'],
  );
  for (const dropped of ['2', '3', '4', '5']) assert.ok(!program.includes(`{ ${dropped} }`));
});

test('the line numbers of each part match the program', () => {
  const two = HEADER.replace('name: one', 'name: two');
  const { program, parts } = compose(
    facts,
    set({ one: `${HEADER}\nkprobe:{{fn:f}} {\n first\n}\n`, two: `${two}kprobe:{{fn:g}} { second }\n` }),
  );
  const lines = program.split('\n');
  const [first, second] = parts.map(({ firstLine, lastLine }) =>
    lines.slice(firstLine - 1, lastLine).join('\n'),
  );
  assert.match(first ?? '', /^\/\/ probes\/one\.bt\n[\s\S]*first\n\}\n$/);
  assert.match(second ?? '', /^\/\/ probes\/two\.bt\n.*second \}\n$/);
});

test('an excluded fragment is left out with the reason of its exclusion', () => {
  const { probes, parts } = compose(
    facts,
    set({ one: `${HEADER}kprobe:{{fn:f}} { 1 }\n` }),
    new Map([['one', 'rejected']]),
  );
  assert.deepEqual(parts, []);
  assert.equal(probes[0]?.reason, 'rejected');
});

test('all names in needs, conditions and placeholders are looked up on the host, also those of dropped lines', () => {
  const header = HEADER.replace('needs: -', 'needs: a|b, !s.c');
  const wanted = wantedBy(
    set(
      {
        one: `${header}kprobe:{{fn:d|e}} { {{use:x}} {{ offset:s.o }} } //? dialect:core\n//? i {\n//? }\n`,
      },
      { x: '1 //? s.h, fn:g\n{{bit:s.b}}' },
    ),
  );
  for (const name of ['a', 'b', 'd', 'e', 'g', 'i']) assert.ok(wanted.functions.includes(name), name);
  for (const name of ['s.b', 's.c', 's.h', 's.o']) assert.ok(wanted.members.includes(name), name);
});

test('the dialect follows from the members of buffers and the functions of KVM', () => {
  const dialect = (functions: string[], members: string[] = []): string =>
    dialectOf({
      ...facts,
      functions: Object.fromEntries(functions.map((name) => [name, 'm'])),
      members: Object.fromEntries(members.map((path) => [path, 0])),
    });
  const exporter = 'vfio_pci_core_feature_dma_buf';
  const flag = 'vfio_dma_buf_data.is_private';
  const owner = 'vfio_dma_buf_data.kvm';
  assert.equal(dialect([exporter, 'kvm_vfio_dmabuf_bind'], [flag, owner]), 'private-v1');
  assert.equal(dialect([exporter, 'vfio_dma_buf_get_data'], [owner]), 'private-v2');
  // KVM binds buffers, so neither a lookup nor a VM member of the buffer is needed.
  assert.equal(dialect([exporter, 'kvm_vfio_dmabuf_bind']), 'private-v2');
  // The lookup function alone does not show a private dialect.
  assert.equal(dialect([exporter, 'vfio_dma_buf_get_data']), 'mainline');
  assert.equal(dialect([exporter, 'dma_buf_export']), 'mainline');
  assert.equal(dialect(['dma_buf_export']), 'core');
  assert.equal(dialect([]), 'none');
});

test('an unknown constant, placeholder or condition in a fragment is an error with file and line', () => {
  const body = (text: string): FragmentSet =>
    set({ one: `${HEADER}ok\n${text}\n` }, { loop: '{{use:loop}}', bad: '\n{{nix}}' });
  const cases: [string, string, RegExp][] = [
    ['REASON_NOTHING', 'probes/one.bt:5', /there is no constant REASON_NOTHING/],
    ['{{reason.unaligned}}', 'probes/one.bt:5', /is not a known placeholder/],
    ['{{fn:a b}}', 'probes/one.bt:5', /does not name a function/],
    ['{{offset:s}}', 'probes/one.bt:5', /does not name a struct\.member/],
    ['{{bit:s.m.n}}', 'probes/one.bt:5', /does not name a struct\.member/],
    ['{{use:missing}}', 'probes/one.bt:5', /there is no snippet/],
    ['{{use:loop}}', 'probes/snippets/loop.bt:1', /uses itself/],
    ['{{use:bad}}', 'probes/snippets/bad.bt:2', /is not a known placeholder/],
    ['x //? klingon:1', 'probes/one.bt:5', /is not valid/],
    ['//? f {', 'probes/one.bt:5', /not closed/],
    ['//? }', 'probes/one.bt:5', /closes a block that was not opened/],
  ];
  for (const [text, where, message] of cases) throwsAt(() => compose(facts, body(text)), where, message);
});

test('a wrong header is an error with file and line', () => {
  const cases: [string, string, RegExp][] = [
    ['', 'p.bt:1', /"needs" is missing/],
    [HEADER.replace('// hooks: kprobe f\n', ''), 'p.bt:1', /"hooks" is missing/],
    [HEADER.replace('needs', 'need'), 'p.bt:3', /unknown field "need"/],
    [`${HEADER}// name: two\n`, 'p.bt:4', /occurs twice/],
    [HEADER.replace('needs: -', 'needs: a b'), 'p.bt:3', /is not valid/],
  ];
  for (const [text, where, message] of cases) throwsAt(() => parseFragment('p.bt', text), where, message);
});
