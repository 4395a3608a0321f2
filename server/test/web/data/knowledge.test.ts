import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atLeast } from '../../../src/contract/format.ts';
import { lossSentences } from '../../../src/contract/texts.ts';
import { countersSentence, covers, figure, knowledgeOf } from '../../../web/data/knowledge.ts';
import type { Status } from '../../../web/data/types.ts';
import { busyHost } from '../../fixtures/busy-host.ts';
import { feed } from '../../fixtures/feed.ts';

const { model } = feed([...busyHost()]);
const STATUS: Status = { ...model.status(), not_ready: null };
test('counters that are a lower bound are reported as such', () => {
  assert.match(countersSentence({ counters_exact: true }), /lost events do not change them/);
  assert.match(countersSentence({ counters_exact: false }), /lower bound/);
  assert.deepEqual(lossSentences({ ...STATUS, missed_returns: 1 }), ['The return of 1 call was not traced.']);
  assert.deepEqual(lossSentences({ ...STATUS, missed_returns: 2 }), [
    'The return of 2 calls was not traced.',
  ]);
});

test('the page state is current, from before tracing ended, or unknown', () => {
  const never = { ...feed([]).model.status(), not_ready: null };
  assert.equal(knowledgeOf(null), 'never');
  assert.equal(knowledgeOf({ ...never, state: 'unavailable' }), 'never');
  assert.equal(knowledgeOf({ ...never, state: 'tracing' }), 'now');
  assert.equal(knowledgeOf(STATUS), 'now');
  assert.equal(knowledgeOf({ ...STATUS, state: 'blind' }), 'before');
  const idle = { ...never, state: 'blind', last_counter_read: never.now } as const;
  assert.equal(knowledgeOf(idle), 'before', 'a host without events was also traced');
  const unread = { ...STATUS, state: 'unavailable', last_counter_read: null } as const;
  assert.equal(knowledgeOf(unread), 'before');
  assert.equal(knowledgeOf({ ...unread, events_received: 0, buffers: { live: 0, revoked: 0 } }), 'never');
});

test('a number from incomplete probes is shown as a lower bound, and 0 as a dash', () => {
  assert.deepEqual(
    [atLeast(0, true), atLeast(0, false), atLeast(1200, false), atLeast(1200, true)],
    ['0', '–', '≥ 1,200', '1,200'],
  );
  const completeness = (dialect: Status['dialect'], ...attached: string[]) => {
    const probes = STATUS.probes.map((one) => ({ ...one, attached: attached.includes(one.probe) }));
    const status = { ...STATUS, dialect, probes };
    const complete = [covers(status, 'rejections'), covers(status, 'importers')];
    assert.equal(figure(0, status, 'importers'), complete[1] === true ? '0' : '–');
    assert.equal(figure(2, status, 'importers'), complete[1] === true ? '2' : '≥ 2');
    assert.equal(figure(0, { ...status, state: 'blind' }, 'importers'), complete[1] === true ? '0' : '–');
    assert.equal(figure(2, { ...status, state: 'blind' }, 'importers'), '2');
    return complete;
  };
  assert.deepEqual(completeness('private-v1', 'export', 'attach', 'detach', 'bind'), [true, true]);
  assert.deepEqual(completeness('private-v1', 'export', 'attach', 'detach'), [false, false]);
  assert.deepEqual(completeness('mainline', 'export', 'attach', 'detach'), [true, true]);
  assert.deepEqual(completeness('mainline', 'export', 'attach'), [true, false]);
  assert.deepEqual(completeness('mainline', 'attach', 'detach'), [false, true]);
  assert.deepEqual(completeness('mainline', 'export', 'detach'), [false, false]);
  assert.equal(covers(STATUS, 'revocations'), true);
  assert.equal(covers({ ...STATUS, probes: [] }, 'revocations'), false);
  assert.deepEqual([covers(null, 'rejections'), covers(null, 'importers')], [false, false]);
});
