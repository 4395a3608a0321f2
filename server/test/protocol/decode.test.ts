import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DECODE_REASONS, decodeLine } from '../../src/protocol/decode.ts';

function value(...data: unknown[]) {
  return JSON.stringify({ type: 'value', data });
}
const EXPORT = [2, 10, 5000, 7, 16640, 0, 0, 2, 1, 4096, 99, 1, 0, 1, 7, 5, 'qemu'];
const EXPORTED = {
  t: 10,
  ns: 5000,
  pid: 7,
  device: 16640,
  errno: 0,
  reason: 'none',
  region: 2,
  ranges: 1,
  bytes: 4096,
  inode: 99,
  privacy: 'shared',
  born_revoked: false,
  kvm: true,
  kvm_pid: 7,
  vm_type: 5,
  comm: 'qemu',
};

const decoded: [string, string, unknown][] = [
  ['ready', value(0, 123), { type: 'ready', data: { t: 123 } }],
  ['heartbeat', value(1, 123, 5), { type: 'heartbeat', data: { t: 123, emitted: 5 } }],
  ['export', value(...EXPORT), { type: 'export', data: EXPORTED }],
  [
    'release',
    value(3, 1, 7, 99, 'qemu'),
    { type: 'release', data: { t: 1, pid: 7, inode: 99, comm: 'qemu' } },
  ],
  [
    'import',
    value(4, 1, 2, 3, 4, 16640, 99, 22, 3, 'kvm', 'kvm', 'CPU 0/KVM'),
    {
      type: 'import',
      data: {
        t: 1,
        ns: 2,
        pid: 3,
        stage: 'bind',
        device: 16640,
        inode: 99,
        errno: 22,
        reason: 'not_private',
        importer: 'kvm',
        importer_device: 'kvm',
        comm: 'CPU 0/KVM',
        // The record is of a recording that is older than this field.
        route: 'unknown',
      },
    },
  ],
  [
    'detach',
    value(5, 1, 3, 16640, 99, 'mlx5_core', '0000:01:00.0', 'x'),
    {
      type: 'detach',
      data: {
        t: 1,
        pid: 3,
        device: 16640,
        inode: 99,
        importer: 'mlx5_core',
        importer_device: '0000:01:00.0',
        comm: 'x',
      },
    },
  ],
  [
    'buffer_state',
    value(6, 1, 3, 16640, 99, true, 3, 'x'),
    {
      type: 'buffer_state',
      data: { t: 1, pid: 3, device: 16640, inode: 99, revoked: true, cause: 'flr', comm: 'x' },
    },
  ],
  [
    'revoke_call',
    value(7, 1, 2, 3, 16640, 1, 1, 4, 'x'),
    {
      type: 'revoke_call',
      data: {
        t: 1,
        ns: 2,
        pid: 3,
        device: 16640,
        revoked: true,
        cause: 'memory_enable',
        buffers: 4,
        comm: 'x',
      },
    },
  ],
  [
    'private_read',
    value(8, 1, 3, 1, 16640, 99, 0, 0, 2, 44, 'x'),
    {
      type: 'private_read',
      data: {
        t: 1,
        pid: 3,
        reader: 'kvm',
        device: 16640,
        inode: 99,
        errno: 0,
        reason: 'none',
        privacy: 'private',
        kvm_pid: 44,
        comm: 'x',
      },
    },
  ],
  [
    'bind',
    value(9, 1, 2, 3, 16640, 99, 0, 0, 1, 44, 45, 4096, 8192, 2, 'x'),
    {
      type: 'bind',
      data: {
        t: 1,
        ns: 2,
        pid: 3,
        device: 16640,
        inode: 99,
        errno: 0,
        reason: 'none',
        violation: 'foreign_vm',
        vm_pid: 44,
        owner_vm_pid: 45,
        slot_bytes: 4096,
        buffer_bytes: 8192,
        privacy: 'private',
        comm: 'x',
      },
    },
  ],
  [
    'unbind',
    value(10, 1, 3, 16640, 99, 44, 'x'),
    { type: 'unbind', data: { t: 1, pid: 3, device: 16640, inode: 99, vm_pid: 44, comm: 'x' } },
  ],
  [
    'snapshot_buffer',
    value(11, 1, 99, 4096, 16640, 0, 1, 1, 1, 44, 0, 2),
    {
      type: 'snapshot_buffer',
      data: {
        t: 1,
        inode: 99,
        bytes: 4096,
        device: 16640,
        revoked: false,
        ranges: 1,
        privacy: 'shared',
        kvm: true,
        kvm_pid: 44,
        vm_type: 0,
        attachments: 2,
      },
    },
  ],
  ['snapshot_end', value(12, 1, 3), { type: 'snapshot_end', data: { t: 1, buffers: 3 } }],
  [
    'a byte count above 2^53, which bpftrace 0.24 and newer print in quotes',
    value(11, 1, 99, '9007199254740993', 16640, 0, 1, 1, 1, 44, 0, 2),
    {
      type: 'snapshot_buffer',
      data: {
        t: 1,
        inode: 99,
        bytes: 9007199254740992,
        device: 16640,
        revoked: false,
        ranges: 1,
        privacy: 'shared',
        kvm: true,
        kvm_pid: 44,
        vm_type: 0,
        attachments: 2,
      },
    },
  ],
  [
    'a gate without a limit',
    value(16, 1, 0, 0, '9223372036854775807'),
    { type: 'gate', data: { t: 1, clock: 0, from: 0, until: 2 ** 63 } },
  ],
  ['a number in quotes', value('1', '123', 5), { type: 'heartbeat', data: { t: 123, emitted: 5 } }],
  [
    'a device of a PCI domain beyond 16 bits',
    value(5, 1, 3, 0x10001_8a00, 99, 'mlx5_core', '10001:8b:00.0', 'x'),
    {
      type: 'detach',
      data: {
        t: 1,
        pid: 3,
        device: 0x10001_8a00,
        inode: 99,
        importer: 'mlx5_core',
        importer_device: '10001:8b:00.0',
        comm: 'x',
      },
    },
  ],
  [
    'half of a surrogate pair as U+FFFD',
    '{"type": "value", "data": [3,1,7,99,"a\\ud800b"]}',
    { type: 'release', data: { t: 1, pid: 7, inode: 99, comm: 'a\ufffdb' } },
  ],
  [
    'a name that contains an exponent and a fraction',
    value(3, 1, 7, 99, 'a,1e3, 2.5'),
    { type: 'release', data: { t: 1, pid: 7, inode: 99, comm: 'a,1e3, 2.5' } },
  ],
  [
    'a name with bytes above 0x7f, as bpftrace prints them',
    '{"type": "value", "data": [3,1,7,99,"caf\\uffffffc3\\uffffffa9 \\uffffffff"]}',
    { type: 'release', data: { t: 1, pid: 7, inode: 99, comm: 'café \ufffd' } },
  ],
  [
    'a map of bpftrace as unknown',
    '{"type": "map", "data": {"@exports": {"16640,0": 3}}}',
    { type: 'unknown', data: { what: 'map' } },
  ],
  [
    'one key of a map',
    '{"type": "value", "data": [13,0,[16640,2],3]}',
    { type: 'counter', data: { name: 'exports', key: '16640,2', value: 3 } },
  ],
  ['a read end', value(14, 123, 40), { type: 'read_end', data: { t: 123, lines: 40 } }],
  ['an unknown type', '{"type": "printf", "data": "x"}', { type: 'unknown', data: { what: 'printf' } }],
  ['plain text', 'stdin:1:1-5: WARNING: look', { type: 'unknown', data: { what: 'text' } }],
  [
    'a full map',
    '{"type": "helper_error", "msg": "x", "helper": "map_update_elem", "retcode": -7, "line": 1, "col": 1}',
    { type: 'helper_error', data: { helper: 'map_update_elem', retcode: -7, map_full: true } },
  ],
  [
    'another failing helper',
    '{"type": "helper_error", "helper": "probe_read_kernel", "retcode": -14}',
    { type: 'helper_error', data: { helper: 'probe_read_kernel', retcode: -14, map_full: false } },
  ],
  [
    'a runtime error',
    '{"type": "runtime_error", "msg": "division by 0"}',
    { type: 'runtime_error', data: { message: 'division by 0' } },
  ],
  ['lost events', '{"type": "lost_events", "data": {"events": 3}}', { type: 'lost_events' }],
  [
    'lost events with a hexadecimal count',
    '{"type": "lost_events", "count": c4c3, "data": {"events": c4c3}}',
    { type: 'lost_events' },
  ],
  ['a tick', '{"type":"tick","data":{"t":5}}', { type: 'tick', data: { t: 5 } }],
  ['an exit', '{"type":"exit","data":{"t":5,"pid":7}}', { type: 'exit', data: { t: 5, pid: 7 } }],
];

for (const [name, line, record] of decoded) {
  test(`decodes ${name}`, () => assert.deepEqual(decodeLine(line), record));
}

const failing: [string, string, string][] = [
  ['a truncated line', '{"type": "val', 'not_json'],
  ['an object without a type', '{"data": 1}', 'not_a_record'],
  ['a value that is not a tuple', '{"type": "value", "data": 4}', 'not_a_record'],
  ['an unknown tag', value(99, 1), 'unknown_tag'],
  ['a tag that is not a number', value('x', 1), 'unknown_tag'],
  ['a tuple too short', value(3, 1, 7, 99), 'bad_fields'],
  ['a tuple too long', value(3, 1, 7, 99, 'x', 1), 'bad_fields'],
  ['a number in place of a string', value(3, 1, 7, 99, 5), 'bad_fields'],
  ['a negative number', value(3, -1, 7, 99, 'x'), 'bad_fields'],
  ['a fraction', value(3, 1.5, 7, 99, 'x'), 'bad_fields'],
  ['a fraction of zero', '{"type": "value", "data": [3,1.0,7,99,"x"]}', 'bad_fields'],
  ['an exponent', '{"type": "value", "data": [3,1e3,7,99,"x"]}', 'bad_fields'],
  ['a negative zero', '{"type": "value", "data": [3,-0,7,99,"x"]}', 'bad_fields'],
  ['a leading zero', '{"type": "value", "data": [3,01,7,99,"x"]}', 'not_json'],
  ['a leading zero in quotes', value(3, '01', 7, 99, 'x'), 'bad_fields'],
  ['a space in quotes', value(3, ' 1', 7, 99, 'x'), 'bad_fields'],
  ['a sign in quotes', value(3, '+1', 7, 99, 'x'), 'bad_fields'],
  ['a time beyond 2^53', value(1, '9007199254740993', 5), 'bad_fields'],
  [
    'bytes beyond 64 bits',
    value(11, 1, 99, '18446744073709551616', 16640, 0, 1, 1, 1, 4, 0, 2),
    'bad_fields',
  ],
  ['a device beyond 32 bits of domain', value(5, 1, 3, 2 ** 48, 99, 'a', 'b', 'x'), 'bad_fields'],
  ['a name longer than bpftrace prints', value(3, 1, 7, 99, 'x'.repeat(257)), 'bad_fields'],
  [
    'a helper that is an object',
    '{"type":"helper_error","helper":{"toString":1,"valueOf":1}}',
    'not_a_record',
  ],
  ['a retcode that is an object', '{"type":"helper_error","helper":"x","retcode":{}}', 'not_a_record'],
  ['a message that is an object', '{"type":"runtime_error","msg":{"toString":1}}', 'not_a_record'],
  ['a type that is an object', '{"type":{"toString":1}}', 'not_a_record'],
  [
    'a device whose name is not a PCI address',
    '{"type":"device_gone","data":{"t":1,"device":"0000:41:00"}}',
    'bad_collector_line',
  ],
  ['a collector time beyond 2^53', '{"type":"tick","data":{"t":9007199254740993}}', 'bad_collector_line'],
  [
    'start ticks whose microseconds are beyond 2^53',
    '{"type":"exit","data":{"t":1,"pid":7,"start_ticks":9007199254740991}}',
    'bad_collector_line',
  ],
  ['a flag of 2', value(6, 1, 3, 16640, 99, 2, 3, 'x'), 'bad_fields'],
  ['a cause beyond the list', value(6, 1, 3, 16640, 99, 1, 99, 'x'), 'bad_fields'],
  ['a collector line with a missing field', '{"type":"exit","data":{"t":5}}', 'bad_collector_line'],
  ['a collector line without data', '{"type":"header"}', 'bad_collector_line'],
  ['a header of another format', '{"type":"header","data":{"format":2}}', 'bad_collector_line'],
  ['a counter of an unknown map', value(13, 99, 0, 1), 'bad_map'],
  ['a counter whose key is text', value(13, 0, ['a', 2], 1), 'bad_map'],
  ['a counter with too few fields', value(13, 0, [1, 2]), 'bad_map'],
  ['a counter with too many fields', value(13, 0, [1, 2], 1, 1), 'bad_map'],
  ['a truncated counter', '{"type": "value", "data": [13,0,[16640,', 'not_json'],
  ['a read end without its count', value(14, 123), 'bad_fields'],
];

for (const [name, line, reason] of failing) {
  test(`rejects ${name} as ${reason}`, () => {
    assert.deepEqual(decodeLine(line), { type: 'failure', reason, sample: line.slice(0, 200) });
  });
}

test('texts of collector lines are limited in length, and unknown fields are dropped', () => {
  const process = {
    t: 1,
    pid: 7,
    start_ticks: 1,
    comm: 'x',
    vmm: 'qemu',
    name: 'n'.repeat(400_000),
    uuid: null,
  };
  const long = decodeLine(JSON.stringify({ type: 'process', data: { ...process, other: 'o'.repeat(1000) } }));
  assert.ok(long.type === 'process');
  assert.equal(long.data.name, `${'n'.repeat(255)}…`);
  assert.ok(!('other' in long.data));
  const message = { t: 1, generation: 1, state: 'exited', reason: 'crashed', message: 'm'.repeat(400_000) };
  const child = decodeLine(JSON.stringify({ type: 'child', data: message }));
  assert.equal(child.type === 'child' && 'message' in child.data && child.data.message.length, 4096);
});

test('a failure keeps only the first 200 characters of the line', () => {
  const record = decodeLine(`{"type": "x${'y'.repeat(5000)}`);
  assert.equal(record.type === 'failure' && record.sample.length, 200);
});

test('decodeLine does not throw for any line', () => {
  const tuple = fc.array(
    fc.oneof(
      fc.integer({ min: -1, max: 15 }),
      fc.array(fc.integer()),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
    ),
  );
  const line = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.uint8Array().map((bytes) => `{${Buffer.from(bytes).toString('utf8')}`),
    fc.json(),
    tuple.map((data) => JSON.stringify({ type: 'value', data })),
    fc
      .tuple(
        fc.constantFrom('map', 'header', 'child', 'snapshot', 'helper_error', '__proto__', 'toString'),
        fc.jsonValue(),
      )
      .map(([type, data]) => JSON.stringify({ type, data })),
  );
  fc.assert(
    fc.property(line, (text) => {
      const record = decodeLine(text);
      assert.equal(typeof record.type, 'string');
      if (record.type === 'failure') assert.ok(DECODE_REASONS.includes(record.reason));
    }),
    { numRuns: 1000 },
  );
});
