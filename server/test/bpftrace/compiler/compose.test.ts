import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  compose,
  composeOneshot,
  dialectOf,
  type ProbeFacts,
  standby,
  wantedBy,
} from '../../../src/bpftrace/compiler/compose.ts';
import { type FragmentSet, loadFragments, parseFragment } from '../../../src/bpftrace/compiler/fragment.ts';
import { TracerError } from '../../../src/lib/errors.ts';
import { probesDirectory } from '../../../src/lib/probes-directory.ts';
import type { MapName } from '../../../src/protocol/declared.ts';
import { MAPS } from '../../../src/protocol/maps.ts';

const HEADER = '// name: one\n// hooks: kprobe f\n// needs: -\n';

function set(probes: Record<string, string>, snippets: Record<string, string> = {}): FragmentSet {
  return {
    probes: Object.entries(probes).map(([name, text]) => parseFragment(`probes/${name}.bt`, text)),
    oneshots: new Map(),
    snippets: new Map(
      Object.entries(snippets).map(([name, text]) => [
        name,
        { file: `probes/snippets/${name}.bt`, text, firstLine: 1 },
      ]),
    ),
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

/** A host with everything that the fragments may need. */
function everythingOf(fragments: FragmentSet): ProbeFacts {
  const wanted = wantedBy(fragments);
  return {
    functions: Object.fromEntries(wanted.functions.map((name) => [name, 'vfio_pci_core'])),
    untraceable: [],
    members: Object.fromEntries(wanted.members.map((path) => [path, 0])),
    pageBytes: 4096,
    modules: ['kvm_amd'],
    bpftraceVersion: [0, 27, 1],
  };
}

function throwsAt(work: () => unknown, where: string, message: RegExp): void {
  assert.throws(
    work,
    (error) => error instanceof TracerError && error.where === where && message.test(error.message),
  );
}

test('placeholders become numbers, functions and snippets', () => {
  const text = `${HEADER}kprobe:{{fn:none|g}} { {{use:inner}} }\nkretprobe:{{ fn:f }} { $a = {{reason.unaligned}}; }\n`;
  const { program } = compose(
    facts,
    set({ one: text }, { inner: '$b = {{bucket.last}}; //? s.m\n$c = 1; //? !s.m\n' }),
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
//? s.none {
d
e //? s.m
//? }
h //? s.m, dialect:core
//? }
}`;
  const { program } = compose(facts, set({ one: text }));
  const lines = program.split('\n').map((line) => line.trim());
  for (const kept of ['a', 'c', 'h']) assert.ok(lines.includes(kept), kept);
  for (const dropped of ['b', 'd', 'e']) assert.ok(!lines.includes(dropped), dropped);
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

test('an unknown placeholder or condition in a fragment is an error with file and line', () => {
  const body = (text: string): FragmentSet =>
    set({ one: `${HEADER}ok\n${text}\n` }, { loop: '{{use:loop}}', bad: '\n{{nix}}' });
  const cases: [string, string, RegExp][] = [
    ['{{reason.nothing}}', 'probes/one.bt:5', /is not a known placeholder/],
    ['{{tag.toString}}', 'probes/one.bt:5', /is not a known placeholder/],
    ['{{constructor.name}}', 'probes/one.bt:5', /is not a known placeholder/],
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

test('the probes of this repository are all attached if the host has everything, and none if it has nothing', async () => {
  const probes = await loadFragments(probesDirectory());
  const everything = everythingOf(probes);
  const nothing: ProbeFacts = {
    functions: {},
    untraceable: [],
    members: {},
    pageBytes: 4096,
    modules: [],
    bpftraceVersion: [0, 23, 0],
  };
  const all = compose(everything, probes);
  assert.equal(all.dialect, 'private-v1');
  assert.deepEqual(
    all.probes.filter((probe) => !probe.attached),
    [],
  );
  assert.ok(all.parts.length > 0);
  const none = compose(nothing, probes);
  assert.deepEqual(none.parts, []);
  assert.ok(none.probes.every((probe) => !probe.attached && probe.reason !== null));
  const snapshot = composeOneshot('snapshot', everything, probes);
  assert.ok('program' in snapshot);
  // bpftrace asserts that only BEGIN and END are next to an iterator, and does not read types of modules for it.
  assert.deepEqual(snapshot.program.match(/^\S+(?= \{$)/gm), ['BEGIN', 'iter:dmabuf', 'END']);
  assert.doesNotMatch(snapshot.program, /struct (vfio|kvm)/);
  assert.ok('reason' in composeOneshot('snapshot', nothing, probes));
});

test('the page size in a program is that of the host', async () => {
  const fragments = await loadFragments(probesDirectory());
  const host = everythingOf(fragments);
  const uses = (pageBytes: number): [number, number] => {
    const { program } = compose({ ...host, pageBytes }, fragments);
    const count = (text: string): number => program.split(text).length - 1;
    return [count(`->npages * ${pageBytes}`), count(`($length | $offset) & (${pageBytes} - 1)`)];
  };
  for (const bytes of [4096, 16_384, 65_536]) assert.deepEqual(uses(bytes), [1, 1], String(bytes));
  const texts = [...fragments.probes, ...fragments.snippets.values(), ...fragments.oneshots.values()];
  for (const { file, text } of texts) assert.doesNotMatch(text, /\b4095\b|<< 12\b|>> 12\b/, file);
});

test('each map key in the probes has the parts that the server reads, with device and privacy in their places', async () => {
  const fragments = await loadFragments(probesDirectory());
  const { program } = compose(everythingOf(fragments), fragments);
  const counted = [...program.matchAll(/@(\w+)\[([^\]]*)\] = (?:count|sum)\(/g)];
  const seen = new Set<string>();
  for (const [, name = '', key = ''] of counted) {
    assert.ok(Object.hasOwn(MAPS, name), name);
    const parts: readonly string[] = MAPS[name as MapName].key;
    seen.add(name);
    const values = key.split(', ');
    assert.equal(values.length, Math.max(1, parts.length), `@${name}[${key}]`);
    if (!parts.includes('name0') || !parts.includes('device')) continue;
    assert.equal(values[parts.indexOf('device')], '$dev', `@${name}[${key}]`);
    assert.equal(values[parts.indexOf('privacy')], '$privacy', `@${name}[${key}]`);
  }
  for (const name of ['imports', 'import_rejections', 'detaches', 'unmaps']) assert.ok(seen.has(name), name);
});

test('the privacy of an import is read from the buffer, and is undeclared if the kernel does not store it', async () => {
  const fragments = await loadFragments(probesDirectory());
  const host = everythingOf(fragments);
  const { 'vfio_dma_buf_data.is_private': _, ...members } = host.members;
  const kept = /\$dmabuf->priv\)->export_data\.is_private\) \{ \$privacy = 2; \} else \{ \$privacy = 1; \}/g;
  const count = (facts: ProbeFacts, pattern: RegExp): number =>
    compose(facts, fragments).program.match(pattern)?.length ?? 0;
  const undeclared = /\$privacy = \(uint64\)0;/g;
  assert.ok(count(host, kept) > 10, 'each probe of an import reads it');
  assert.equal(count({ ...host, members }, kept), 0);
  assert.ok(count({ ...host, members }, undeclared) >= count(host, kept));
});

test('all that the call of an importer stores about its buffer is deleted', async () => {
  const fragments = await loadFragments(probesDirectory());
  const { program } = compose(everythingOf(fragments), fragments);
  const kept = [...program.matchAll(/@(call_(?:inode|bytes|exporter|privacy))\[\$task\] = /g)].map(
    ([, map]) => map,
  );
  const names = new Set(kept);
  assert.equal(names.size, 4);
  // It is deleted at the end of a call, and at the begin, in case the end of the call before was missed.
  const places = program.split('delete(@call_inode[$task])').length - 1;
  for (const name of names) assert.equal(program.split(`delete(@${name}[$task])`).length - 1, places, name);
});

test('the owner in a KVM bind is read from the buffer, with and without a lookup', async () => {
  const fragments = await loadFragments(probesDirectory());
  const host = everythingOf(fragments);
  const without = (...names: string[]): ProbeFacts => ({
    ...host,
    functions: Object.fromEntries(Object.entries(host.functions).filter(([name]) => !names.includes(name))),
  });
  for (const facts of [host, without('vfio_dma_buf_get_data', 'kvm_vfio_dma_buf_get_data')]) {
    const { program, probes } = compose(facts, fragments);
    assert.ok(probes.filter(({ probe }) => probe === 'bind').every(({ attached }) => attached));
    const [bind = ''] = /\/\/ probes\/bind\.bt\n[\s\S]*?\n\/\/ probes\//.exec(program) ?? [];
    assert.match(bind, /\$owner = \(uint64\)\$private->export_data\.kvm;/);
    assert.match(bind, /\$owner = \(uint64\)\$vdev->vdev\.kvm;/);
  }
  // A rejection inside KVM's bind is counted by the bind only, so each count of an import first checks whether a bind runs.
  const { program } = compose(host, fragments);
  const counts =
    program.split('@import_rejections[$stage, $dev, $privacy, $n0, $n1, $errno, $reason] = sum((uint64)0)')
      .length - 1;
  assert.equal(program.split('@bind_inner_reason[(uint64)curtask] = (uint64)$reason').length - 1, counts);
});

test('SEV is read from kvm_amd only if kvm_amd is a module, because a VM may not belong to a built-in one', async () => {
  const fragments = await loadFragments(probesDirectory());
  const amd = everythingOf(fragments);
  const asked = (facts: ProbeFacts): boolean[] => {
    const snapshot = composeOneshot('snapshot', facts, fragments);
    assert.ok('program' in snapshot);
    return [compose(facts, fragments).program, snapshot.program].map((program) => /\$sev\b/.test(program));
  };
  assert.deepEqual(asked(amd), [true, true]);
  assert.deepEqual(asked({ ...amd, modules: ['kvm_intel'] }), [false, false]);
  const { 'kvm_svm.sev_info': _, ...members } = amd.members;
  assert.deepEqual(asked({ ...amd, members }), [false, false]);
});

test('no fragment uses fentry or fexit, because preemption makes them skip calls and overwrite their scratch memory', async () => {
  const { probes, oneshots, snippets } = await loadFragments(probesDirectory());
  assert.ok(probes.length > 0);
  for (const { file, text } of [...probes, ...oneshots.values(), ...snippets.values()]) {
    assert.doesNotMatch(text, /\b(fentry|fexit|kfunc|kretfunc)\b/, file);
  }
});

test('no program prints a map, because kprobes miss calls while bpftrace looks up its keys by system call', async () => {
  const fragments = await loadFragments(probesDirectory());
  const { program } = compose(everythingOf(fragments), fragments);
  assert.doesNotMatch(program, /\bprint\(@/);
});

test('every counter that the probes or their snippets write is read', async () => {
  const fragments = await loadFragments(probesDirectory());
  const { program } = compose(everythingOf(fragments), fragments);
  const written = program.matchAll(/@(\w+)(?:\[[^\]]*\])? = (?:count|sum)\(/g);
  const counters = new Set(Array.from(written, ([, name]) => name as string));
  const read = Array.from(
    program.matchAll(/for \(\$kv : @(\w+)\) \{ print\(\(13,/g),
    ([, name]) => name as string,
  );
  assert.deepEqual([...counters].filter((name) => !['emitted', 'lines'].includes(name)).sort(), read);
  assert.deepEqual(
    Object.keys(MAPS)
      .filter((name) => name !== 'emitted')
      .sort(),
    read,
  );
});

test('each kprobe that counts, or marks a call whose return counts, first checks the gate', async () => {
  const fragments = await loadFragments(probesDirectory());
  const { program, gated } = compose(everythingOf(fragments), fragments);
  assert.ok(gated);
  const blocks = program.split(/^(?=\w+:\S+ )/m).filter((block) => block.startsWith('kprobe:'));
  assert.ok(blocks.length > 10);
  for (const block of blocks) {
    const [head = ''] = block.split('\n');
    const byMark = /\/@\w+\[/.test(head);
    const matters = /sum\(|print\(|@\w+_start\[[^\]]*\] =/.test(block);
    if (matters && !byMark)
      assert.match(block, /< @gate_from \|\| \$arrived >= @gate_until\) \{ return; \}/, head);
  }
  // The program reports each mark of a call in flight, so that a handover can wait for it.
  for (const [, mark] of program.matchAll(/@(\w+_start)\[/g))
    assert.ok(program.includes(`for ($kv : @${mark}) { print((17,`), mark);
});

test('a standby counts nothing until its gate opens, and a kernel without a scheduler clock has no gate', async () => {
  const fragments = await loadFragments(probesDirectory());
  const host = everythingOf(fragments);
  assert.match(standby(compose(host, fragments).program), /@gate_from = \(uint64\)0x7fffffffffffffff;/);
  const { 'sched_info.last_arrival': _, ...members } = host.members;
  const without = compose({ ...host, members }, fragments);
  assert.equal(without.gated, false);
  assert.doesNotMatch(without.program, /@gate|@arrived|@slack/);
});
