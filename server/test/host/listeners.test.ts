import assert from 'node:assert/strict';
import { endianness } from 'node:os';
import { test } from 'node:test';
import { parseListeners } from '../../src/host/listeners.ts';

const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:273B 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0700000A:273C 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 4712 1 0000000000000000 100 0 0 10 0
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0
   3: 0100007F:273B 0100007F:8A2C 01 00000000:00000000 00:00000000 00000000 65534        0 4714 1 0000000000000000 20 4 30 10 -1
`;
const TCP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:273B 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1 0000000000000000 100 0 0 10 0
   1: B80D0120000000000000000067452301:273B 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6 1 0000000000000000 100 0 0 10 0
   2: 00000000000000000000000000000000:273B 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0000000000000000 100 0 0 10 0
`;

test('only sockets that listen are returned, and a socket for all addresses with the loopback address', {
  skip: endianness() === 'LE' ? false : 'the tables are those of a little-endian host',
}, () => {
  assert.deepEqual(parseListeners(TCP), [
    { inode: 4711, host: '127.0.0.1', port: 10043 },
    { inode: 4712, host: '10.0.0.7', port: 10044 },
    { inode: 4713, host: '127.0.0.1', port: 80 },
  ]);
  assert.deepEqual(parseListeners(TCP6), [
    { inode: 5, host: '0000:0000:0000:0000:0000:0000:0000:0001', port: 10043 },
    { inode: 6, host: '2001:0db8:0000:0000:0000:0000:0123:4567', port: 10043 },
    { inode: 7, host: '127.0.0.1', port: 10043 },
  ]);
});
