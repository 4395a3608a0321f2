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

/** Lets time pass, in steps in which messages can be sent. */
async function pass(t: TestContext, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    await settle();
    t.mock.timers.tick(500);
  }
  await settle();
}

function withWatchdog(t: TestContext) {
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
  const { messages, logged, state, stop } = withWatchdog(t);
  await pass(t, 1000);
  assert.deepEqual(messages.splice(0), ['STATUS=ready', 'WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1']);
  assert.equal(state.limitMs, 1000);

  Object.assign(state, { status: 'not ready:\nstale', problem: 'no counters' });
  await pass(t, 1500);
  assert.deepEqual(messages.splice(0), ['STATUS=not ready: stale']);
  assert.equal(logged.length, 1);
  assert.match(logged[0] ?? '', /no keep-alive.*no counters/);

  state.problem = null;
  await pass(t, 500);
  stop();
  await pass(t, 2000);
  assert.deepEqual(messages, ['WATCHDOG=1']);
});

test('nothing more is reported while systemd does not accept a message', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const accepted: (() => void)[] = [];
  const made = new ServiceManager({
    env: { WATCHDOG_USEC: '2000000' },
    descriptors: [NOTIFY],
    logger: { warn: () => {}, error: () => {} },
    send: (_fd, _message, done) => void accepted.push(() => done(null)),
  });
  t.after(made.report({ status: () => 'ready', problem: () => null }));
  for (const waiting of [1, 2, 3]) {
    await pass(t, 5000);
    assert.equal(accepted.length, waiting);
    accepted.at(-1)?.();
  }
});

test('without a watchdog, or with that of another process, only the status is reported', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  for (const env of [{}, { WATCHDOG_USEC: '8000000', WATCHDOG_PID: '1' }, { WATCHDOG_USEC: '0' }]) {
    const { made, messages } = manager(env);
    const stop = made.report({ status: () => 'ready', problem: () => null });
    await pass(t, 5000);
    stop();
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

test('for a unit without the connection, the fix is logged; without systemd nothing is logged or sent', async () => {
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
