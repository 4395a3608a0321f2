import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import {
  ImportsAnswer,
  IncidentsAnswer,
  ProbesAnswer,
  RejectionsAnswer,
} from '../../src/contract/answers.ts';
import { Topology } from '../../src/contract/topology.ts';
import { counterRead, DEVICE, exported, imported, packName, snapshot } from '../fixtures/stream-lines.ts';
import { build, STREAM } from './build.ts';

const VM = exported({ t: 2_800_000, inode: 10, privacy: 'shared', kvm_pid: 4242, vm_type: 'snp' });
const LINES = [
  ...STREAM,
  VM,
  imported({ t: 2_900_000, inode: 10, stage: 'attach', importer: 'irdma' }),
  imported({ t: 2_910_000, inode: 10, stage: 'map', importer: 'irdma' }),
  imported({
    t: 2_920_000,
    inode: 10,
    stage: 'attach',
    importer: 'vgem',
    errno: 95,
    reason: 'no_peer_to_peer',
  }),
  ...counterRead(3_100_000, {
    import_rejections: {
      [`2,${DEVICE},2,${packName('mlx5_core')},19,9`]: 5,
      [`1,${DEVICE},1,${packName('vgem')},95,7`]: 7,
      [`1,${DEVICE + 0x100},1,${packName('vgem')},95,7`]: 2,
    },
    export_rejections: { [`${0x4100},22,15`]: 3 },
  }),
];

async function asker(t: TestContext, path: string, schema: TSchema = Type.Unknown()) {
  const { app } = await build(t, { lines: LINES });
  return async (query = '') => {
    const answer = await app.inject(`/api/v1/${path}${query}`);
    assert.equal(answer.statusCode, 200, answer.body);
    assert.ok(Value.Check(schema, answer.json()), answer.body);
    return answer.json();
  };
}

test('incidents are filtered by kind, state and device', async (t) => {
  const ask = await asker(t, 'incidents', IncidentsAnswer);
  const all = await ask();
  assert.deepEqual(
    all.incidents.map(({ kind, inode }: { kind: string; inode: number }) => [kind, inode]),
    [
      ['private_offered', 7],
      ['private_without_vm', 7],
    ],
  );
  assert.deepEqual([all.total, all.open, all.folded, all.not_detected], [2, 2, 0, []]);
  assert.deepEqual(all.not_applicable, ['confidential_shared']);
  assert.deepEqual(all.blind_to, []);
  assert.equal((await ask('?kind=private_offered')).total, 1);
  assert.equal((await ask('?state=closed')).total, 0);
  assert.equal((await ask('?device=41:00.0')).total, 2);
  assert.equal((await ask('?device=00000000:41:00.0')).total, 2);
  assert.equal((await ask('?device=42:00.0')).total, 0);
  const limited = await ask('?limit=1');
  assert.deepEqual([limited.total, limited.incidents.length], [2, 1]);
});

test('rejections are listed newest first, with the counts of the kernel', async (t) => {
  const ask = await asker(t, 'rejections', RejectionsAnswer);
  const all = await ask();
  assert.deepEqual(
    all.rejections.map(({ kind, reason }: { kind: string; reason: string }) => [kind, reason]),
    [
      ['import', 'no_peer_to_peer'],
      ['export', 'no_ranges'],
      ['import', 'revoked'],
    ],
  );
  const vgem = { importer: 'vgem', stage: 'attach', reason: 'no_peer_to_peer', errno: 'EOPNOTSUPP' };
  const mlx5 = { importer: 'mlx5_core', stage: 'map', reason: 'revoked', errno: 'ENODEV' };
  assert.deepEqual(all.counts.imports, [
    { device: '0000:41:00.0', privacy: 'shared', ...vgem, count: 7 },
    { device: '0000:41:00.0', privacy: 'private', ...mlx5, count: 5 },
    { device: '0000:42:00.0', privacy: 'shared', ...vgem, count: 2 },
  ]);
  assert.deepEqual(all.counts.exports, [
    { device: '0000:41:00.0', reason: 'no_ranges', errno: 'EINVAL', count: 3 },
  ]);
  const countsOf = async (query: string) => {
    const { rejections, counts } = await ask(query);
    return [rejections.length, counts.imports?.length ?? null, counts.exports?.length ?? null];
  };
  assert.deepEqual(await countsOf('?importer=vgem'), [1, 2, null]);
  assert.deepEqual(await countsOf('?stage=map'), [1, 1, null]);
  assert.deepEqual(await countsOf('?stage=export'), [1, null, 1]);
  assert.deepEqual(await countsOf('?reason=revoked'), [1, 1, 0]);
  assert.deepEqual(await countsOf('?device=41:00.0'), [3, 2, 1]);
  assert.deepEqual(await countsOf('?device=42:00.0'), [0, 1, 0]);
  assert.deepEqual(await countsOf('?limit=1'), [1, 3, 1]);
});

test('imports list each importer with its buffer and VM', async (t) => {
  const ask = await asker(t, 'imports', ImportsAnswer);
  const all = await ask();
  assert.deepEqual(
    all.imports.map((one: Record<string, unknown>) => [one.inode, one.importer, one.mapped, one.state]),
    [
      [7, 'mlx5_core', false, 'live'],
      [10, 'irdma', true, 'live'],
    ],
  );
  assert.equal(all.imports[1].vm.pid, 4242);
  assert.equal((await ask('?importer=irdma')).total, 1);
  assert.equal((await ask('?device=42:00.0')).total, 0);
});

test('the total counts all matches, but only the rows below the limit are built', async (t) => {
  const { app, model } = await build(t, { lines: LINES });
  const views = t.mock.method(model, 'buffer');
  const { total, imports } = (await app.inject('/api/v1/imports?limit=1')).json();
  assert.deepEqual([total, imports.length, views.mock.callCount()], [2, 1, 1]);
  const answer = (await app.inject('/api/v1/buffers?limit=1')).json();
  assert.deepEqual([answer.total, answer.buffers.length], [4, 1]);
  const live = (await app.inject('/api/v1/buffers?state=live&device=41:00.0&privacy=private')).json();
  assert.deepEqual(
    live.buffers.map(({ inode }: { inode: number }) => inode),
    [7],
  );
});

test('the topology joins VMs, devices, buffers and importers', async (t) => {
  const ask = await asker(t, 'topology', Topology);
  const { nodes, edges, total } = await ask('?device=41:00.0');
  const ids = new Set(nodes.map(({ id }: { id: string }) => id));
  assert.equal(ids.size, nodes.length);
  assert.ok(edges.every(({ from, to }: { from: string; to: string }) => ids.has(from) && ids.has(to)));
  assert.ok(ids.has('vm:4242') && ids.has('device:0000:41:00.0') && ids.has('buffer:10'));
  assert.equal(total, 2);
  const imports = edges.filter(({ type }: { type: string }) => type === 'import');
  assert.deepEqual(
    imports.map((one: Record<string, unknown>) => [one.from, one.to, one.state, one.private, one.reason]),
    [
      ['buffer:7', 'importer:mlx5_core/mlx5_core', 'live', true, 'none'],
      ['buffer:10', 'importer:vgem/vgem', 'rejected', false, 'no_peer_to_peer'],
      ['buffer:10', 'importer:irdma/irdma', 'live', false, 'none'],
    ],
  );
  assert.equal((await ask('?limit=1')).total, 3);
});

test('the topology lists the devices that a process has open without a buffer, of one device or of all', async (t) => {
  const open = [0x4108, 0x4110].map((device) => ({ device, pid: 300 }));
  const { app } = await build(t, { lines: [...STREAM, snapshot(5_000_000, [], { device_holders: open })] });
  for (const [query, devices] of [
    ['', ['0000:41:01.0', '0000:41:02.0']],
    ['?limit=1', ['0000:41:01.0']],
    ['?device=41:02.0', ['0000:41:02.0']],
  ] as const) {
    const answer = (await app.inject(`/api/v1/topology${query}`)).json();
    assert.ok(Value.Check(Topology, answer));
    assert.deepEqual(
      answer.idle_devices.map(({ device }) => device),
      devices,
      query,
    );
  }
});

test('the probes route returns the dialect and the probes', async (t) => {
  const ask = await asker(t, 'probes', ProbesAnswer);
  const answer = await ask();
  assert.equal(answer.dialect, 'private-v1');
  assert.ok(answer.probes.length > 0);
});

for (const [url, message, hint] of [
  ['incidents?kind=orphan', /kind cannot be "orphan"/, /did you mean orphaned\?/],
  ['incidents?limit=0', /limit cannot be 0/, /1 to 10000/],
  ['rejections?stage=atach', /stage cannot be "atach"/, /did you mean attach\?/],
  ['rejections?importr=x', /importr is not a parameter/, /did you mean importer\?/],
  ['imports?importer=', /importer cannot be ""/, /name of an importer/],
  ['topology?device=gpu', /device cannot be "gpu"/, /0000:41:00\.0/],
  ['probes?x=1', /x is not a parameter/, /./],
] as const) {
  test(`/api/v1/${url} is rejected with a hint`, async (t) => {
    const { app } = await build(t);
    const answer = await app.inject(`/api/v1/${url}`);
    assert.equal(answer.statusCode, 400);
    assert.match(answer.json().error.message, message);
    assert.match(answer.json().error.hint ?? '', hint);
  });
}
