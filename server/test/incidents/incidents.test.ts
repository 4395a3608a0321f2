import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Check } from 'typebox/value';
import { Incident } from '../../src/contract/incidents.ts';
import { feed } from '../fixtures/feed.ts';
import {
  ALL_PROBES,
  bufferState,
  collectorLine,
  DEVICE,
  detached,
  exited,
  exported,
  HEADER,
  heartbeat,
  imported,
  ready,
  released,
  type StartingOptions,
  snapshot,
  snapshotBuffer,
  starting,
  tupleLine,
  unmapped,
} from '../fixtures/stream-lines.ts';

const S = 1_000_000;
const T = 3 * S;
const ATTACH = 1;
const MAP = 2;
const IOMMUFD = 3;
const NO_PEER_TO_PEER = 7;

function begin(options: StartingOptions = {}) {
  return [HEADER, starting(S, 1, options), ready(2 * S)];
}
function watch(lines: readonly string[], options: StartingOptions = {}) {
  const fed = feed([...begin(options), ...lines]);
  const validIncidents = () => {
    const incidents = fed.model.incidents();
    for (const incident of incidents) assert.ok(Check(Incident, incident), JSON.stringify(incident));
    return incidents;
  };
  return { ...fed, incidents: validIncidents, first: () => validIncidents()[0] };
}
const mainline = {
  dialect: 'mainline',
  attached: ALL_PROBES.filter((probe) => !['bind', 'unbind', 'private_read'].includes(probe)),
} as const;

function at(micros: number) {
  return new Date(1_700_000_000_000 + micros / 1000).toISOString();
}
function revokeCall(t: number, ns: number, pid = 100, revoked = true) {
  return tupleLine('revoke_call', t, ns, pid, DEVICE, revoked, 3, 1, 'qemu');
}
function exit(t: number, pid: number) {
  return collectorLine('exit', { t, pid });
}

interface BindFields {
  inode?: number;
  errno?: number;
  violation?: number;
  vm?: number;
  /** The thread that created the VM. */
  maker?: number;
  owner?: number;
  privacy?: number;
}
function bind(t: number, fields: BindFields = {}) {
  const f = { inode: 9, errno: 0, violation: 0, vm: 300, owner: 200, privacy: 2, ...fields };
  const { maker = f.vm } = f;
  const reason = f.errno === 0 ? 0 : 4;
  return tupleLine(
    'bind',
    t,
    10,
    f.vm,
    DEVICE,
    f.inode,
    f.errno,
    reason,
    f.violation,
    maker,
    f.owner,
    4096,
    4096,
    f.privacy,
    'qemu',
  );
}
function unbind(t: number, pid: number, inode = 9) {
  return tupleLine('unbind', t, pid, DEVICE, inode, 200, 'qemu');
}

const HELD_BY_MLX5 = [
  exported({ t: T, inode: 9, privacy: 0 }),
  imported({ t: T + 1, inode: 9, stage: ATTACH, importer: 'mlx5_core' }),
  imported({ t: T + 2, inode: 9, stage: MAP, importer: 'mlx5_core' }),
];
const HELD_BY_IOMMUFD = [
  exported({ t: T, inode: 9, privacy: 0 }),
  imported({ t: T + 1, inode: 9, stage: ATTACH, importer: 'iommu' }),
  imported({ t: T + 2, inode: 9, stage: IOMMUFD, importer: 'iommu' }),
];

test('a revocation that waits for a second opens an incident with the importers that it waits for', () => {
  const { first, more, model } = watch([...HELD_BY_MLX5, bufferState(4 * S, 9, true), heartbeat(4.9 * S, 4)]);
  assert.equal(first(), undefined);
  more(heartbeat(5.1 * S, 4));
  const open = first();
  assert.equal(open?.kind, 'revoke_waiting');
  assert.equal(open?.state, 'open');
  assert.equal(open?.since, at(4 * S));
  assert.equal(open?.opened_at, at(5 * S));
  assert.deepEqual(open?.importers, [{ importer: 'mlx5_core', importer_device: 'mlx5_core', inode: 9 }]);
  assert.match(
    open?.sentence ?? '',
    /0000:41:00\.0 by qemu \(pid 100, cause flr\) waits for mlx5_core to unmap buffer 9/,
  );
  assert.equal(model.status().open_incidents.revoke_waiting, 1);
  more(unmapped(7 * S, 9, 'mlx5_core'));
  assert.deepEqual(first()?.importers, []);
  more(revokeCall(7 * S + 10, 3_000_012_000));
  const closed = first();
  assert.equal(closed?.closed_by, 'revoke_ended');
  assert.equal(closed?.waited_seconds, 3.000012);
  assert.equal(closed?.importers[0]?.importer, 'mlx5_core');
  assert.match(closed?.sentence ?? '', /Over after 3\.000 s: the call has ended\.$/);
  assert.equal(closed?.exact, true);
  assert.equal(model.status().open_incidents.revoke_waiting, 0);
});

test('a fast revocation opens no incident, in any order of its two events', () => {
  for (const lines of [
    [bufferState(4 * S, 9, true), revokeCall(4 * S + 50, 60_000)],
    [revokeCall(4 * S + 50, 60_000), bufferState(4 * S, 9, true)],
  ]) {
    const { incidents } = watch([...HELD_BY_MLX5, ...lines, heartbeat(9 * S, 5)]);
    assert.deepEqual(incidents(), []);
  }
});

test('a revocation that waited between two heartbeats is reported once, at its end', () => {
  const { incidents } = watch([
    ...HELD_BY_MLX5,
    bufferState(4 * S, 9, true),
    revokeCall(5.5 * S, 1_500_000_000),
  ]);
  assert.deepEqual(
    incidents().map(({ kind, state, waited_seconds }) => [kind, state, waited_seconds]),
    [['revoke_waiting', 'closed', 1.5]],
  );
});

test('the buffers of one revocation call share one incident', () => {
  const { incidents, more } = watch([
    ...HELD_BY_MLX5,
    exported({ t: T, inode: 10, privacy: 0 }),
    imported({ t: T + 1, inode: 10, stage: ATTACH, importer: 'irdma' }),
    imported({ t: T + 2, inode: 10, stage: MAP, importer: 'irdma' }),
    bufferState(4 * S, 9, true),
    heartbeat(6 * S, 7),
    unmapped(6 * S + 1, 9, 'mlx5_core'),
    bufferState(6 * S + 2, 10, true),
  ]);
  assert.deepEqual(
    incidents().map(({ importers }) => importers.map(({ importer }) => importer)),
    [['irdma']],
  );
  more(revokeCall(8 * S, 4_000_000_000));
  assert.deepEqual(
    incidents().map(({ state, importers }) => [state, importers.length]),
    [['closed', 2]],
  );
});

test('a waiting revocation whose end was lost closes inexactly with the next call of the device', () => {
  const { first, more } = watch([...HELD_BY_MLX5, bufferState(4 * S, 9, true), heartbeat(6 * S, 4)]);
  more(bufferState(7 * S, 9, false));
  assert.equal(first()?.closed_by, 'next_call');
  assert.equal(first()?.exact, false);
  assert.match(first()?.sentence ?? '', /the end of this one was missed/);
  more(revokeCall(6.9 * S, 2_900_000_000));
  assert.equal(first()?.closed_by, 'revoke_ended');
  assert.equal(first()?.waited_seconds, 2.9);
});

test('a snapshot closes a waiting revocation if the buffer has no attachment, and only then', () => {
  const waiting = [...HELD_BY_MLX5, bufferState(4 * S, 9, true), heartbeat(6 * S, 4)];
  const { first, more } = watch(waiting);
  more(snapshot(6 * S, [snapshotBuffer({ inode: 9, revoked: true, attachments: 1 })]));
  assert.equal(first()?.state, 'open');
  more(snapshot(7 * S, [snapshotBuffer({ inode: 9, revoked: true, attachments: 0 })]));
  assert.equal(first()?.closed_by, 'snapshot');
  assert.equal(first()?.exact, false);
});

test('after a loss a waiting revocation is inexact, and a snapshot closes it if no importer is known', () => {
  const { first, more } = watch([...HELD_BY_MLX5, bufferState(4 * S, 9, true), heartbeat(6 * S, 4)]);
  assert.equal(first()?.exact, true);
  more(collectorLine('loss', { t: 6.5 * S, stage: 'queue', count: 2 }));
  assert.equal(first()?.exact, false);
  const seen = [snapshotBuffer({ inode: 9, revoked: true, attachments: 1 })];
  more(snapshot(7 * S, seen));
  assert.equal(first()?.state, 'open');
  more(unmapped(7.5 * S, 9, 'mlx5_core'), snapshot(8 * S, seen));
  assert.equal(first()?.closed_by, 'snapshot');
});

test('a waiting revocation names no importer if the unmap probe is not attached, and its sentence has the reason', () => {
  const attached = ALL_PROBES.filter((probe) => probe !== 'unmap');
  const { first } = watch([...HELD_BY_MLX5, bufferState(4 * S, 9, true), heartbeat(6 * S, 4)], { attached });
  assert.deepEqual(first()?.importers, []);
  assert.match(first()?.sentence ?? '', /unmaps are not traced here/);
});

test('a map that iommufd rejects after it got the memory does not remap it, so the mapping stays lost', () => {
  const { model, incidents, more } = watch([
    ...HELD_BY_IOMMUFD,
    bufferState(4 * S, 9, true),
    bufferState(5 * S, 9, false),
  ]);
  const [attach, map, detach, rejected] = [7 * S, 7 * S + 10, 7 * S + 20, 7 * S + 30];
  more(
    imported({ t: attach, inode: 9, stage: ATTACH, importer: 'iommu' }),
    imported({ t: map, inode: 9, stage: IOMMUFD, importer: 'iommu' }),
    detached(detach, 9, 'iommu'),
    // The event has a time shortly after the end of its duration, so the call seems to begin after it got the memory.
    tupleLine('import', rejected, 15_000, 100, IOMMUFD, DEVICE, 9, 17, 1, 'iommu', 'iommu', 'qemu'),
  );
  const lost = () => incidents().filter(({ kind }) => kind === 'mappings_lost');
  assert.equal(model.buffer(9)?.lost_mappings, 1);
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, false);
  assert.ok(lost().some(({ state }) => state === 'open'));
  // A call that is rejected before it gets the memory does not undo the remap.
  more(
    imported({ t: 8 * S, inode: 9, stage: ATTACH, importer: 'iommu' }),
    imported({ t: 8 * S + 1, inode: 9, stage: IOMMUFD, importer: 'iommu' }),
    tupleLine('import', 9 * S, 60_000, 100, IOMMUFD, DEVICE, 9, 22, 1, 'iommu', 'iommu', 'qemu'),
  );
  assert.equal(model.buffer(9)?.lost_mappings, 0);
  assert.ok(lost().every(({ closed_by }) => closed_by === 'mapped_again'));
});

for (const dialect of ['mainline', 'private-v1'] as const)
  test(`an attach before the snapshot that shows the VM of the buffer opens the incident (${dialect})`, () => {
    const secret = dialect === 'mainline' ? { vm_type: 4, privacy: 0 } : { privacy: 2 };
    const options = dialect === 'mainline' ? mainline : {};
    const { first } = watch(
      [
        imported({ t: 2.5 * S, inode: 9, stage: ATTACH, importer: 'mlx5_core' }),
        snapshot(2.9 * S, [snapshotBuffer({ inode: 9, kvm_pid: 100, attachments: 1, ...secret })]),
      ],
      options,
    );
    assert.equal(first()?.kind, dialect === 'mainline' ? 'confidential_shared' : 'private_offered');
    assert.deepEqual(first()?.importers[0]?.importer, 'mlx5_core');
  });

test('a snapshot that finds memory of a confidential VM attached opens an incident with an unknown importer', () => {
  const found = (more: object) =>
    watch([snapshot(3 * S, [snapshotBuffer({ inode: 9, kvm_pid: 100, vm_type: 4, ...more })])], mainline);
  const { first } = found({ attachments: 2 });
  assert.equal(first()?.kind, 'confidential_shared');
  assert.match(first()?.sentence ?? '', /^An unknown importer has attached buffer 9 /);
  assert.deepEqual(found({ attachments: 0 }).incidents(), []);
  assert.deepEqual(found({ attachments: 2, vm_type: 0 }).incidents(), []);
});

test('a snapshot with a private buffer of a device without a VM opens an incident', () => {
  const found = (more: object) =>
    watch([snapshot(3 * S, [snapshotBuffer({ inode: 9, privacy: 2, ...more })])]).incidents();
  assert.equal(found({ kvm: false })[0]?.kind, 'private_without_vm');
  assert.deepEqual(found({ kvm: true }), []);
  assert.deepEqual(found({}), [], 'an older recording does not have this field');
});

test('a preexisting buffer is orphaned after its VM has ended', () => {
  const { first } = watch([
    snapshot(3 * S, [snapshotBuffer({ inode: 9, kvm_pid: 100, attachments: 1 })]),
    exit(4 * S, 100),
    heartbeat(20 * S, 0),
  ]);
  assert.equal(first()?.kind, 'orphaned');
});

test('lost mappings are an incident until they are remapped', () => {
  const { first, more } = watch([
    ...HELD_BY_IOMMUFD,
    bufferState(4 * S, 9, true),
    revokeCall(4 * S + 9, 9000),
  ]);
  assert.equal(first()?.kind, 'mappings_lost');
  assert.match(first()?.sentence ?? '', /iommufd has lost 1 mapping of buffer 9 \(0000:41:00\.0, BAR 2\)/);
  more(bufferState(5 * S, 9, false), detached(6 * S, 9, 'iommu'));
  assert.equal(first()?.state, 'open');
  more(
    imported({ t: 7 * S, inode: 9, stage: ATTACH, importer: 'iommu' }),
    imported({ t: 7 * S + 1, inode: 9, stage: IOMMUFD, importer: 'iommu' }),
  );
  assert.equal(first()?.closed_by, 'mapped_again');
  assert.equal(first()?.closed_at, at(7 * S + 1));
});

test('the release of the buffer closes the incident of its lost mappings', () => {
  const { first } = watch([...HELD_BY_IOMMUFD, bufferState(4 * S, 9, true), released(5 * S, 9)]);
  assert.equal(first()?.closed_by, 'released');
});

test('a detach by iommufd, and a revocation of an unmapped buffer, lose no mapping', () => {
  const { incidents } = watch([
    ...HELD_BY_IOMMUFD,
    detached(T + 3, 9, 'iommu'),
    bufferState(4 * S, 9, true),
    revokeCall(4 * S + 9, 9000),
    heartbeat(9 * S, 6),
  ]);
  assert.deepEqual(incidents(), []);
});

test('a buffer is orphaned 10 s after the exit of its owner, and the incident names its holders', () => {
  const holders = [{ pid: 5, comm: 'holder', fds: 2 }];
  const { first, more } = watch([...HELD_BY_MLX5, exit(4 * S, 100), heartbeat(13.9 * S, 3)]);
  assert.equal(first(), undefined);
  more(heartbeat(14.1 * S, 3));
  assert.equal(first()?.kind, 'orphaned');
  assert.match(
    first()?.sentence ?? '',
    /qemu \(pid 100\) has ended, but buffer 9 .* held by mlx5_core$|mlx5_core\./,
  );
  more(snapshot(15 * S, [snapshotBuffer({ inode: 9, attachments: 1, holders })], { cause: 'owner_exit' }));
  assert.deepEqual(first()?.holders, holders);
  assert.match(first()?.sentence ?? '', /held by holder \(pid 5, 2 fds\), mlx5_core\./);
  more(released(20 * S, 9));
  assert.equal(first()?.closed_by, 'released');
  assert.deepEqual(first()?.holders, holders);
});

test('a buffer that is released when its owner exits is not orphaned, also if the exit arrives first', () => {
  const { incidents } = watch([
    exit(4 * S, 100),
    exported({ t: T, inode: 9, privacy: 0 }),
    released(4 * S - 1, 9),
    heartbeat(30 * S, 2),
  ]);
  assert.deepEqual(incidents(), []);
});

test('an export while memory decode is off is an incident until the buffer is restored or released', () => {
  const born = exported({ t: T, inode: 9, privacy: 0, born_revoked: true });
  const { first, more } = watch([born]);
  assert.equal(first()?.kind, 'born_revoked');
  assert.equal(first()?.state, 'open');
  more(bufferState(4 * S, 9, false));
  assert.equal(first()?.closed_by, 'restored');
  assert.equal(watch([born, released(4 * S, 9)]).first()?.closed_by, 'released');
  assert.equal(watch([bufferState(4 * S, 9, false), born]).first()?.state, 'closed');
});

test('a snapshot that shows a born revoked buffer as live closes the incident, which is then inexact', () => {
  const { first } = watch([
    exported({ t: T, inode: 9, privacy: 0, born_revoked: true }),
    snapshot(4 * S, [snapshotBuffer({ inode: 9, privacy: 0 })]),
  ]);
  assert.equal(first()?.closed_by, 'snapshot');
  assert.equal(first()?.exact, false);
});

test('an export that is neither attached nor released for five minutes opens an incident', () => {
  const lines = [
    exported({ t: T, inode: 7, privacy: 0 }),
    exported({ t: T, inode: 8, privacy: 0 }),
    ...HELD_BY_MLX5,
    detached(T + 9, 9, 'mlx5_core'),
    released(T + 9, 8),
    heartbeat(303.1 * S, 7),
  ];
  const { incidents, first, more } = watch(lines);
  assert.deepEqual(
    incidents().map(({ kind, inode }) => [kind, inode]),
    [['never_imported', 7]],
  );
  assert.equal(first()?.severity, 'info');
  more(imported({ t: 310 * S, inode: 7, stage: ATTACH, importer: 'irdma' }));
  assert.equal(first()?.closed_by, 'imported');
});

test('without the attach probe no export is known to have no importer', () => {
  const { incidents, model } = watch([exported({ t: T, inode: 7, privacy: 0 }), heartbeat(304 * S, 1)], {
    attached: ['export', 'release'],
  });
  assert.deepEqual(incidents(), []);
  assert.equal('never_imported' in model.status().open_incidents, false);
});

test('a private export of a device without a VM is an incident until the release', () => {
  const { first, more } = watch([exported({ t: T, inode: 9, privacy: 2 })]);
  assert.equal(first()?.kind, 'private_without_vm');
  more(released(4 * S, 9));
  assert.equal(first()?.closed_by, 'released');
  assert.deepEqual(watch([exported({ t: T, inode: 9, privacy: 2, kvm_pid: 200 })]).incidents(), []);
  assert.deepEqual(watch([exported({ t: T, inode: 9, privacy: 1 })]).incidents(), []);
});

test('a release that arrives before its export leaves no incident open', () => {
  const { incidents, model } = watch([
    released(T + 9, 9),
    exported({ t: T, inode: 9, privacy: 2, born_revoked: true }),
  ]);
  assert.deepEqual(
    incidents()
      .map(({ kind, state }) => [kind, state])
      .sort(),
    [
      ['born_revoked', 'closed'],
      ['private_without_vm', 'closed'],
    ],
  );
  assert.ok(Object.values(model.status().open_incidents).every((count) => count === 0));
});

const PRIVATE = exported({ t: T, inode: 9, privacy: 2, kvm_pid: 200, vm_type: 4 });
function offer(t: number, errno = 0) {
  return imported({
    t,
    inode: 9,
    stage: ATTACH,
    importer: 'mlx5_core',
    errno,
    reason: errno === 0 ? 0 : NO_PEER_TO_PEER,
  });
}

test('accepted and rejected offers of a private buffer to another importer than KVM are one incident', () => {
  const { incidents, first, more } = watch([PRIVATE, offer(T + 1, 95)]);
  assert.equal(first()?.kind, 'private_offered');
  assert.equal(first()?.severity, 'warning');
  assert.match(first()?.sentence ?? '', /which is private: rejected once \(no_peer_to_peer\)\./);
  more(offer(T + 2, 95), offer(T + 3));
  assert.equal(incidents().length, 1);
  assert.equal(first()?.count, 3);
  assert.equal(first()?.severity, 'critical');
  assert.match(first()?.sentence ?? '', /accepted once, rejected 2 times/);
  more(released(5 * S, 9));
  assert.equal(first()?.closed_by, 'released');
});

test('KVM can attach and bind a private buffer of its own VM without an incident', () => {
  const { incidents } = watch([
    PRIVATE,
    imported({ t: T + 1, inode: 9, stage: ATTACH, importer: 'kvm' }),
    bind(T + 2, { vm: 200 }),
    detached(T + 3, 9, 'kvm'),
    unbind(T + 4, 200),
    heartbeat(9 * S, 5),
  ]);
  assert.deepEqual(incidents(), []);
});

test('an offer that arrives before the export opens an incident', () => {
  assert.equal(watch([offer(T + 1, 95), PRIVATE]).first()?.kind, 'private_offered');
});

test('a buffer with undeclared privacy counts as private after KVM has bound it', () => {
  const undeclared = exported({ t: T, inode: 9, privacy: 0, kvm_pid: 200 });
  const bound = bind(T + 5, { vm: 200, privacy: 0 });
  const v2 = { dialect: 'private-v2' } as const;
  assert.deepEqual(watch([undeclared, offer(T + 1), bound], v2).incidents(), []);
  assert.match(
    watch([undeclared, bound, offer(T + 6)], v2).first()?.sentence ?? '',
    /which is bound by KVM \(this kernel does not report whether it is private\): accepted once/,
  );
  assert.equal(watch([undeclared, offer(T + 6), bound], v2).first()?.kind, 'private_offered');
});

test('a bind to another VM is an incident until KVM unbinds the buffer there', () => {
  const { first, more, incidents } = watch([
    PRIVATE,
    bind(T + 1, { violation: 1 }),
    bind(T + 2, { violation: 1 }),
  ]);
  assert.equal(first()?.kind, 'foreign_vm');
  assert.equal(first()?.severity, 'critical');
  assert.equal(first()?.count, 2);
  assert.equal(first()?.vm?.pid, 300);
  assert.match(first()?.sentence ?? '', /to VM of pid 300, but its device belongs to VM of pid 200/);
  more(unbind(T + 3, 200));
  assert.equal(first()?.state, 'open');
  more(unbind(T + 4, 300));
  assert.equal(first()?.closed_by, 'unbound');
  assert.equal(incidents().length, 1);
});

test('the incident of a bind names the process of the VM, and closes when it ends', () => {
  const { first, more } = watch([PRIVATE, bind(T + 1, { violation: 1, maker: 301 }), unbind(T + 2, 301)]);
  assert.equal(first()?.vm?.pid, 300);
  assert.equal(first()?.state, 'open');
  more(unbind(T + 4, 300));
  assert.equal(first()?.closed_by, 'unbound');
  more(bind(T + 5, { violation: 2, maker: 301 }), exit(T + 6, 300));
  assert.deepEqual([first()?.kind, first()?.closed_by], ['accepted_not_vfio', 'vm_gone']);
});

test('an unbind that arrives before its bind closes the incident, and a rejected bind opens none', () => {
  assert.equal(
    watch([PRIVATE, unbind(T + 9, 300), bind(T + 1, { violation: 1 })]).first()?.closed_by,
    'unbound',
  );
  assert.deepEqual(watch([PRIVATE, bind(T + 1, { errno: 22 })]).incidents(), []);
});

test('a bind that was accepted after a failed lookup is an incident until its VM ends', () => {
  const { first, more } = watch([bind(T, { inode: 77, violation: 2, owner: 0, privacy: 0 })]);
  assert.equal(first()?.kind, 'accepted_not_vfio');
  assert.equal(first()?.inode, 77);
  more(exit(5 * S, 300));
  assert.equal(first()?.closed_by, 'vm_gone');
  assert.equal(watch([exit(5 * S, 300), bind(T, { violation: 2 })]).first()?.closed_by, 'vm_gone');
});

test('on mainline an importer other than KVM that attaches memory of a confidential VM opens an incident', () => {
  const export_ = (vm_type: number) => exported({ t: T, inode: 9, privacy: 0, kvm_pid: 200, vm_type });
  const attach = (importer: string, errno = 0) =>
    imported({ t: T + 1, inode: 9, stage: ATTACH, importer, errno });
  const { first } = watch([export_(5), attach('mlx5_core')], mainline);
  assert.equal(first()?.kind, 'confidential_shared');
  assert.match(
    first()?.sentence ?? '',
    /^Importer mlx5_core has attached buffer 9 .*of a confidential VM \(tdx\)/,
  );
  assert.equal(watch([attach('mlx5_core'), export_(5)], mainline).first()?.kind, 'confidential_shared');
  assert.deepEqual(watch([export_(5), attach('kvm')], mainline).incidents(), []);
  assert.deepEqual(watch([export_(5), attach('mlx5_core', 95)], mainline).incidents(), []);
  assert.deepEqual(watch([export_(0), attach('mlx5_core')], mainline).incidents(), []);
  assert.deepEqual(watch([export_(5), attach('mlx5_core')]).incidents(), []);
});

test('after a gap an incident is exact again if a snapshot can confirm it, and only then', () => {
  const { incidents, more } = watch([
    exported({ t: T, inode: 9, privacy: 2 }),
    exported({ t: T, inode: 10, privacy: 0 }),
    imported({ t: T + 1, inode: 10, stage: ATTACH, importer: 'iommu' }),
    imported({ t: T + 2, inode: 10, stage: IOMMUFD, importer: 'iommu' }),
    bufferState(T + 3, 10, true),
  ]);
  const exact = () => Object.fromEntries(incidents().map((one) => [one.kind, one.exact]));
  assert.deepEqual(exact(), { mappings_lost: true, private_without_vm: true });
  more(exited(5 * S, 1), starting(6 * S, 2), ready(7 * S));
  assert.deepEqual(exact(), { mappings_lost: false, private_without_vm: false });
  const seen = [
    snapshotBuffer({ inode: 9, privacy: 2 }),
    snapshotBuffer({ inode: 10, privacy: 0, revoked: true, attachments: 1 }),
  ];
  more(snapshot(8 * S, seen, { cause: 'gap' }));
  assert.deepEqual(exact(), { mappings_lost: false, private_without_vm: true });
  more(snapshot(9 * S, []));
  assert.deepEqual(
    incidents().map(({ closed_by, exact }) => [closed_by, exact]),
    [
      ['snapshot', false],
      ['snapshot', false],
    ],
  );
});

test('open incidents are limited for each kind, folded ones are counted once, and closed ones are limited', () => {
  const { model, more } = feed(begin(), { incidents: { open: 2, closed: 3 } });
  const inodes = [1, 2, 3, 4, 5];
  more(...inodes.map((inode) => exported({ t: T, inode, privacy: 2 })));
  more(...inodes.map((inode) => exported({ t: T, inode, privacy: 2 })));
  assert.deepEqual(model.incidentCounts('private_without_vm'), { open: 2, opened: 2, folded: 3 });
  more(...inodes.map((inode) => released(4 * S, inode)));
  more(...[11, 12].map((inode) => exported({ t: 5 * S, inode, privacy: 2 })));
  more(...[11, 12].map((inode) => released(6 * S, inode)));
  assert.deepEqual(model.incidentCounts('private_without_vm'), { open: 0, opened: 4, folded: 3 });
  assert.deepEqual(
    model.incidents().map(({ id }) => id),
    [4, 3, 2],
  );
});

test('blindTo lists the serious kinds that this kernel can have but that no attached probe detects', () => {
  const kinds = (options: StartingOptions) => watch([], options).model.blindTo();
  const blind = (kind: string, ...probes: string[]) => ({ kind, probes });
  assert.deepEqual(kinds({}), []);
  assert.deepEqual(kinds(mainline), [], 'a kernel without private exports has no binds');
  assert.deepEqual(kinds({ dialect: 'private-v1', attached: ['export', 'release', 'private_read'] }), [
    blind('private_offered', 'attach'),
    blind('foreign_vm', 'bind'),
    blind('accepted_not_vfio', 'bind'),
  ]);
  assert.deepEqual(kinds({ dialect: 'private-v2', attached: ['attach', 'bind', 'private_read'] }), []);
  assert.deepEqual(kinds({ dialect: 'mainline', attached: ['attach'] }), [
    blind('confidential_shared', 'export'),
  ]);
  const { model } = watch([starting(T, 2, { attached: ALL_PROBES.filter((probe) => probe !== 'attach') })]);
  assert.deepEqual(
    model.blindTo(),
    [blind('private_offered', 'attach')],
    'probes of an earlier child do not count',
  );
});

test('incidents are sorted by state, severity and age: open, critical and newest first', () => {
  const { incidents } = watch([
    PRIVATE,
    offer(T + 1),
    exported({ t: T + 2, inode: 10, born_revoked: true }),
    exported({ t: T + 3, inode: 11, born_revoked: true }),
    exported({ t: T + 4, inode: 12, born_revoked: true }),
    released(T + 5, 12),
  ]);
  assert.deepEqual(
    incidents().map(({ severity, inode, state }) => [severity, inode, state]),
    [
      ['critical', 9, 'open'],
      ['warning', 11, 'open'],
      ['warning', 10, 'open'],
      ['warning', 12, 'closed'],
    ],
  );
});

test('opening and closing an incident are events with a sequence number', () => {
  const { events } = watch([exported({ t: T, inode: 9, privacy: 2 }), released(4 * S, 9)]);
  assert.deepEqual(
    events.map((event) => [event.seq, event.kind === 'incident' ? event.change : event.kind, event.time]),
    [
      [1, 'export', at(T)],
      [2, 'opened', at(T)],
      [3, 'release', at(4 * S)],
      [4, 'closed', at(4 * S)],
    ],
  );
});
