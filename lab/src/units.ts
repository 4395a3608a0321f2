import assert from 'node:assert/strict';
import { HASH_OF_SECRET } from '../../server/test/fixtures/web-config.ts';
import { isUsualOnce } from './cells.ts';
import { portOf } from './guest-scripts.ts';
import type { Lab } from './lab.ts';
import { parseSamples, total } from './samples.ts';
import { PLAIN } from './scenarios/names.ts';
import type { Trial } from './trial.ts';

const NAME = 'vfio-dmabuf-tracer';
const COLLECT = `${NAME}-collect.service`;
const SERVE = `${NAME}-serve.service`;
const SOCKET = `${NAME}-serve.socket`;
const INSTALL = '/lab/program/deploy/systemd/install.sh';
/** The limits of `systemd-analyze security`: for `collect`, what bpftrace permits. */
const EXPOSURE = { [SERVE]: 0.5, [COLLECT]: 3 };
/** The trial waits for the watchdog twice. */
const WATCHDOG_SECONDS = 20;

/** A drop-in for a unit, as `systemctl edit` writes it. */
function edit(unit: string, text: string): string {
  return `mkdir -p /etc/systemd/system/${unit}.d; printf '${text}' >/etc/systemd/system/${unit}.d/override.conf`;
}

/** Properties of a unit, as systemd shows them. */
async function show(lab: Lab, unit: string, ...names: string[]): Promise<Record<string, string>> {
  const output = await lab.command(`systemctl show ${unit} ${names.map((name) => `-p ${name}`).join(' ')}`);
  const lines = output.trim().split('\n');
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s) as [string, string]));
}

function ready(lab: Lab): Promise<void> {
  return lab.until('the services to be ready', 300, async () => (await lab.get('/-/ready')).status === 200);
}

async function exported(lab: Lab, times: number): Promise<void> {
  await lab.session(`device=${PLAIN}`, 'export=2,0:4096', 'close=0');
  await lab.until(`${times} exports to be counted`, 60, async () => {
    return total(await lab.samples(), 'exports_total', `device="${PLAIN}"`) === times;
  });
}

/** Ends as soon as systemd has restarted the service, and returns why it did. */
async function restarted(lab: Lab, unit: string, action: string, restarts = '1'): Promise<string> {
  const since = (await lab.command('date +%s')).trim();
  await lab.command(action);
  await lab.until(`${unit} to be restarted`, WATCHDOG_SECONDS * 4, async () => {
    const { NRestarts, ActiveState } = await show(lab, unit, 'NRestarts', 'ActiveState');
    return NRestarts === restarts && ActiveState === 'active';
  });
  return lab.command(`journalctl -q -u ${unit} --since=@${since} -o cat`);
}

async function assertHardened(lab: Lab, log: (line: string) => void): Promise<void> {
  for (const [unit, limit] of Object.entries(EXPOSURE)) {
    await lab.command(`systemd-analyze verify ${unit}`);
    const output = await lab.command(`systemd-analyze security --no-pager ${unit}`);
    const exposure = Number(/Overall exposure level for .*: (\d+\.\d+)/.exec(output)?.[1]);
    log(`${unit}: exposure ${exposure}`);
    assert.ok(exposure <= limit, `the exposure of ${unit} is at most ${limit}:\n${output}`);
  }
}

export const SYSTEMD: Trial = {
  name: 'systemd',
  title: 'two services of a real systemd: install, hardening, sockets, reload, watchdog, upgrade, removal',
  guest: 'systemd',
  belongs: isUsualOnce,
  run: async (lab, log) => {
    await lab.command(
      `${INSTALL}; log=${portOf('log')}; journalctl -f -o cat -u ${COLLECT} -u ${SERVE} >$log 2>&1 </dev/null &
       ${edit(SOCKET, '[Socket]\\nListenStream=\\nListenStream=0.0.0.0:10043\\n')}
       for unit in ${COLLECT} ${SERVE}; do
         ${edit('$unit', `[Service]\\nWatchdogSec=${WATCHDOG_SECONDS}\\n`)}
       done
       systemctl daemon-reload
       systemctl enable --now ${NAME}.target`,
      300,
    );
    lab.queryGuest();
    await assertHardened(lab, log);
    await ready(lab);
    await exported(lab, 1);
    const { StatusText: collects } = await show(lab, COLLECT, 'StatusText');
    assert.match(collects ?? '', /^tracing with \d+ of \d+ probes$/);
    assert.equal((await show(lab, SERVE, 'StatusText')).StatusText, 'ready');
  },
};
