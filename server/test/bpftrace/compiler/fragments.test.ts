import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compose, composeOneshot, type ProbeFacts, standby } from '../../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../../src/bpftrace/compiler/fragment.ts';
import { probesDirectory } from '../../../src/lib/probes-directory.ts';
import type { MapName } from '../../../src/protocol/declared.ts';
import { MAPS } from '../../../src/protocol/maps.ts';
import { everythingOf } from '../everything.ts';

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
  const count = (text: string): number => program.split(text).length - 1;
  const calls = count('@importer_call[$task] = ');
  assert.ok(calls >= 6);
  // It is deleted at the end of a call, and at the begin, in case the end of the call before was missed.
  assert.equal(count('delete(@call_buffer[$task])'), 2 * calls);
});

test('a route is deleted at both ends of a call that maps, so no other mapping gets it', async () => {
  const fragments = await loadFragments(probesDirectory());
  const { program } = compose(everythingOf(fragments), fragments);
  for (const hook of ['kprobe', 'kretprobe']) {
    const [, block] = program.split(`\n${hook}:vfio_pci_core:vfio_pci_dma_buf_map `);
    assert.match(block?.split('\n}')[0] ?? '', /delete\(@map_route\[\$task\]\)/, hook);
  }
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
  assert.equal(program.split('@bind_inner_reason[$task] = (uint64)$reason').length - 1, counts);
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
    const matters = /sum\(|print\(|@\w+_call\[[^\]]*\] =/.test(block);
    if (matters && !byMark)
      assert.match(block, /< @gate_from \|\| \$arrived >= @gate_until\) \{ return; \}/, head);
  }
  // The program reports each call in flight, so that a handover can wait for it.
  for (const [, mark] of program.matchAll(/@(\w+_call)\[/g))
    assert.ok(program.includes(`for ($kv : @${mark}) { print((17,`), mark);
});

test('a standby counts nothing until its gate opens, and a kernel without a scheduler clock has no gate', async () => {
  const fragments = await loadFragments(probesDirectory());
  const host = everythingOf(fragments);
  assert.match(
    standby(compose(host, fragments).program),
    /@gated = \(uint64\)1; @gate_from = \(uint64\)0x7fffffffffffffff;/,
  );
  const { 'sched_info.last_arrival': _, ...members } = host.members;
  const without = compose({ ...host, members }, fragments);
  assert.equal(without.gated, false);
  assert.doesNotMatch(without.program, /@gate|@arrived|@slack/);
});

test('without any one of the probes, the program still reads only maps that it writes, as bpftrace requires', async () => {
  const fragments = await loadFragments(probesDirectory());
  const host = everythingOf(fragments);
  for (const { name } of fragments.probes) {
    const { program } = compose(host, fragments, new Map([[name, 'rejected']]));
    const named = new Set(Array.from(program.matchAll(/@\w+/g), ([map]) => map));
    const written = new Set(Array.from(program.matchAll(/(@\w+)(?:\[[^\]]*\])? = /g), ([, map]) => map));
    assert.deepEqual(
      [...named].filter((map) => !written.has(map)),
      [],
      `without ${name}`,
    );
  }
});
