import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { takeDescriptors } from '../../src/systemd/descriptors.ts';
import { ServiceManager } from '../../src/systemd/service-manager.ts';

const NOTIFY = { name: 'notify', fd: 4 };

/** A manager whose messages and log lines are collected. */
function manager(env: NodeJS.ProcessEnv, { descriptors = [NOTIFY], fails = (): boolean => false } = {}) {
  const messages: string[] = [];
  const logged: string[] = [];
  const log = (fields: unknown, text = String(fields)): void => void logged.push(text);
  const made = new ServiceManager({
    env,
    descriptors,
    logger: { warn: log, error: log },
    send: (fd, message, done) => {
      assert.equal(fd, NOTIFY.fd);
      if (fails()) return done(new Error('EAGAIN'));
      messages.push(message);
      done(null);
    },
  });
  return { made, messages, logged };
}

/** Lets the promises of the messages settle. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function watched(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const state = { status: 'ready', problem: null as string | null, limitMs: 0 };
  const all = manager({ WATCHDOG_USEC: '2000000', WATCHDOG_PID: String(process.pid) });
  const stop = all.made.report({
    status: () => state.status,
    problem: (limitMs) => {
      state.limitMs = limitMs;
      return state.problem;
    },
  });
  t.after(stop);
  return { ...all, state, stop };
}

test('a keep-alive is sent four times in the time of the watchdog, and only while the path is not broken', async (t) => {
  const { messages, logged, state, stop } = watched(t);
  t.mock.timers.tick(1000);
  await settle();
  assert.deepEqual(messages.splice(0), ['STATUS=ready', 'WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1']);
  assert.equal(state.limitMs, 1000);

  Object.assign(state, { status: 'not ready:\nstale', problem: 'no counters' });
  t.mock.timers.tick(1500);
  await settle();
  assert.deepEqual(messages.splice(0), ['STATUS=not ready: stale']);
  assert.equal(logged.length, 1);
  assert.match(logged[0] ?? '', /no keep-alive.*no counters/);

  state.problem = null;
  t.mock.timers.tick(500);
  stop();
  t.mock.timers.tick(2000);
  await settle();
  assert.deepEqual(messages, ['WATCHDOG=1']);
});

test('without a watchdog, or with that of another process, only the status is reported', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  for (const env of [{}, { WATCHDOG_USEC: '8000000', WATCHDOG_PID: '1' }, { WATCHDOG_USEC: '0' }]) {
    const { made, messages } = manager(env);
    const stop = made.report({ status: () => 'ready', problem: () => null });
    t.mock.timers.tick(5000);
    stop();
    await settle();
    assert.deepEqual(messages, ['STATUS=ready']);
  }
});

test('start, reload and stop are reported in order', async () => {
  const { made, messages } = manager({});
  made.ready();
  made.reloading();
  made.ready();
  made.stopping();
  await settle();
  assert.match(messages.join(' '), /^READY=1 RELOADING=1\nMONOTONIC_USEC=\d+ READY=1 STOPPING=1$/);
});

test('a message that cannot be sent is logged once, and the next ones are tried', async () => {
  let isBroken = true;
  const { made, messages, logged } = manager({}, { fails: () => isBroken });
  made.ready();
  made.ready();
  await settle();
  isBroken = false;
  made.stopping();
  await settle();
  assert.deepEqual(messages, ['STOPPING=1']);
  assert.deepEqual(logged, ['systemd does not accept messages']);
});

test('a unit without the connection is told how to add it; without systemd nothing is logged or sent', async () => {
  const unconnected = manager({ NOTIFY_SOCKET: '/run/systemd/notify' }, { descriptors: [] });
  const alone = manager({ WATCHDOG_USEC: '8000000' }, { descriptors: [] });
  for (const { made, messages } of [unconnected, alone]) {
    made.ready();
    made.report({ status: () => 'ready', problem: () => null })();
    await settle();
    assert.deepEqual(messages, []);
  }
  assert.equal(unconnected.logged.length, 1);
  assert.deepEqual(alone.logged, []);
});

test('only descriptors for this process are taken, and the variables are removed in any case', () => {
  const passed = (env: NodeJS.ProcessEnv) => {
    const copy: NodeJS.ProcessEnv = { PATH: '/bin', ...env };
    const found = takeDescriptors(copy, 7);
    assert.deepEqual(copy, { PATH: '/bin' });
    return found;
  };
  assert.deepEqual(passed({ LISTEN_PID: '7', LISTEN_FDS: '3', LISTEN_FDNAMES: 'http:notify' }), [
    { name: 'http', fd: 3 },
    { name: 'notify', fd: 4 },
    { name: '', fd: 5 },
  ]);
  for (const env of [
    {},
    { LISTEN_FDS: '2' },
    { LISTEN_PID: '8', LISTEN_FDS: '2' },
    { LISTEN_PID: '7' },
    { LISTEN_PID: '7', LISTEN_FDS: '-1' },
    { LISTEN_PID: '7', LISTEN_FDS: '99999999' },
  ])
    assert.deepEqual(passed(env), []);
});
