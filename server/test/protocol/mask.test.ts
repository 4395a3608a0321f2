import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeLine } from '../../src/protocol/decode.ts';
import { maskAddresses } from '../../src/protocol/mask.ts';
import { childLine } from '../../src/protocol/stream-line.ts';
import { eventLine } from '../fixtures/stream-lines.ts';

const ADDRESS = 'ffffffff81234567';

const masked: [string, string][] = [
  [`0x${ADDRESS}`, '[address]'],
  [`at ${ADDRESS}`, 'at [address]'],
  [`kfunc_${ADDRESS}`, 'kfunc_[address]'],
  [`kfunc${ADDRESS}`, 'kfunc[address]'],
  [`0X${ADDRESS.toUpperCase()}+0x10/0x20`, '[address]+0x10/0x20'],
  ['[<ffff888101234560>] ff11000101234560', '[<[address]>] [address]'],
  ['a=0xffff888101234560,b=0xffffc90001234560', 'a=[address],b=[address]'],
];
for (const [text, expected] of masked)
  test(`masks the address in ${text}`, () => assert.equal(maskAddresses(text), expected));

for (const text of [
  '0x00007f0123456789',
  '1234567890123456',
  '9007199254740993',
  '18446744073709551615',
  '7310575183467606885',
  'deadbeef',
  `${'a'.repeat(40)}`,
  'ffffffff81234567ffffffff81234567ffffffff81234567ffffffff81234567',
  '8e9c7a04-0c9b-4b3b-9c9e-0123456789ab',
])
  test(`does not mask ${text}`, () => assert.equal(maskAddresses(text), text));

for (const line of [
  `{"type": "runtime_error", "msg": "bad read at 0x${ADDRESS}"}`,
  `{"type": "helper_error", "helper": "kfunc_${ADDRESS}", "retcode": -14}`,
  `{"type": "printf", "data": "${ADDRESS}"}`,
  `{"type": "value", "data": [3,1,7,99,"${ADDRESS}`,
  `{"type": "value", "data": [99,"0x${ADDRESS}"]}`,
  `stdin:1:1-5: WARNING: kfunc_${ADDRESS}`,
]) {
  test(`an address in a line of bpftrace is masked: ${line}`, () => {
    const { raw, record } = childLine(line);
    assert.ok(!raw.includes(ADDRESS));
    assert.ok(raw.includes('[address]'));
    assert.deepEqual(record, decodeLine(raw));
    assert.ok(!JSON.stringify(decodeLine(line)).includes(ADDRESS));
  });
}

test('the record of a masked line is that of the masked text', () => {
  const { raw, record } = childLine(`{"type": "kfunc_${ADDRESS}"}`);
  assert.equal(raw, '{"type": "kfunc_[address]"}');
  assert.deepEqual(record, { type: 'unknown', data: { what: 'kfunc_[address]' } });
});

test('what a probe prints is never masked', () => {
  for (const line of [
    eventLine('detach', { t: 1, inode: 7, importer: ADDRESS, importer_device: '' }),
    '{"type": "value", "data": [13,14,[8319104478930001,9007199254740991],1]}',
    '{"type": "value", "data": [1,9007199254740991,8999999999999999]}',
  ])
    assert.deepEqual(childLine(line), { raw: line, record: decodeLine(line) });
});

test('an address at the cut of a failure sample is removed completely', () => {
  for (let at = 170; at < 200; at += 1) {
    const record = decodeLine(`{"type": "${'x '.repeat(100).slice(0, at - 10)} ${ADDRESS}`);
    assert.equal(record.type, 'failure');
    assert.ok(record.type === 'failure' && !record.sample.includes('ffff'), JSON.stringify(record));
  }
});

test('an address in a message of the collector is masked', () => {
  const line = JSON.stringify({
    type: 'child',
    data: {
      t: 1,
      generation: 1,
      state: 'exited',
      reason: 'crashed',
      message: `exited with 1: kfunc_${ADDRESS}`,
    },
  });
  assert.match(JSON.stringify(decodeLine(line)), /kfunc_\[address\]/);
});
