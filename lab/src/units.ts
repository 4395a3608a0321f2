import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import type { Topology } from '../../server/src/contract/topology.ts';
import { VERSION } from '../../server/src/lib/package-version.ts';
import { HASH_OF_SECRET } from '../../server/test/fixtures/web-config.ts';
import { packageName } from '../../tools/debian-package.ts';
import { isUsualOnce } from './cells.ts';
import { NEXT_VERSION } from './debian-packages.ts';
import { portOf } from './guest-scripts.ts';
import type { Lab } from './lab.ts';
import { total } from './samples.ts';
import { PLAIN, RESETTABLE } from './scenarios/names.ts';
import type { Trial } from './trial.ts';

type Log = (line: string) => void;
type Step = (lab: Lab, log: Log) => Promise<void>;

const NAME = 'vfio-dmabuf-tracer';
const COLLECT = `${NAME}-collect.service`;
const SERVE = `${NAME}-serve.service`;
const SOCKET = `${NAME}-serve.socket`;
/** The disk with the program, its units and the packages (stage.ts). */
const STAGE = '/lab/program';
/** The limits of `systemd-analyze security`: for `collect`, what bpftrace permits. */
const EXPOSURE = { [SERVE]: 0.2, [COLLECT]: 2.1 };
/** The trial waits until the watchdog ends a service. On a busy machine an emulated processor may pause for many seconds. */
const WATCHDOG_SECONDS = 20;
const START_SECONDS = 300;
/** Numbers of CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN and CAP_SYS_NICE. */
const CAPABILITIES = [2n, 19n, 21n, 23n];

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
  return lab.until(
    'the services to be ready',
    START_SECONDS,
    async () => (await lab.get('/-/ready')).status === 200,
  );
}

async function exported(lab: Lab, times: number): Promise<void> {
  await lab.session(`device=${PLAIN}`, 'export=2,0:4096', 'close=0');
  await lab.until(`${times} exports to be counted`, 60, async () => {
    return total(await lab.samples(), 'exports_total', `device="${PLAIN}"`) === times;
  });
}

function firstExport(lab: Lab): Promise<void> {
  return exported(lab, 1);
}

/** Runs a script, and waits until systemd has restarted these units because of it. */
async function restarts(lab: Lab, script: string, ...units: string[]): Promise<void> {
  const counts = (): Promise<[number, string][]> =>
    Promise.all(
      units.map(async (unit) => {
        const { NRestarts, ActiveState = '' } = await show(lab, unit, 'NRestarts', 'ActiveState');
        return [Number(NRestarts), ActiveState] as [number, string];
      }),
    );
  const before = await counts();
  await lab.command(script);
  await lab.until(`restarts of ${units.join(' and ')}`, WATCHDOG_SECONDS + START_SECONDS, async () =>
    (await counts()).every(
      ([count, state], index) => count > (before[index]?.[0] ?? 0) && state === 'active',
    ),
  );
}

/** Sends a signal to the main process of a unit. */
function signal(unit: string, name: string): string {
  return `kill -${name} $(systemctl show ${unit} -p MainPID --value)`;
}

async function assertHardened(lab: Lab, log: Log): Promise<void> {
  for (const [unit, limit] of Object.entries(EXPOSURE)) {
    await lab.command(`systemd-analyze verify ${unit}`);
    const output = await lab.command(`systemd-analyze security --no-pager ${unit}`);
    const exposure = Number(/Overall exposure level for .*: (\d+\.\d+)/.exec(output)?.[1]);
    log(`${unit}: exposure ${exposure}`);
    assert.ok(exposure <= limit, `the exposure of ${unit} is at most ${limit}:\n${output}`);
  }
}

/** `systemctl status` shows what the services do, and a reload ends before `systemctl reload` does. */
async function assertReported(lab: Lab): Promise<void> {
  for (const [unit, text] of [
    [COLLECT, /^tracing with \d+ of \d+ probes$/],
    [SERVE, /^ready$/],
  ] as const) {
    await lab.until(`the status of ${unit}`, 30, async () =>
      text.test((await show(lab, unit, 'StatusText')).StatusText ?? ''),
    );
  }
  const { probes } = await lab.status();
  const rejected = probes.filter(({ reason }) => reason?.startsWith('bpftrace rejected'));
  assert.deepEqual(rejected, [], 'the sandbox takes nothing from bpftrace that it needs');
  const reloaded = async (): Promise<number> =>
    (await lab.samples()).get('config_last_reload_success_timestamp_seconds{file="config"}') ?? 0;
  const before = await reloaded();
  await lab.command(`systemctl reload ${SERVE}`);
  assert.ok((await reloaded()) > before);
}

/** The server has no privileges, and neither process has a network. */
async function assertSeparated(lab: Lab): Promise<void> {
  const facts = await lab.command(
    `for unit in ${COLLECT} ${SERVE}; do
       pid=$(systemctl show $unit -p MainPID --value)
       ps -o user= -p $pid; sed -n 's/^CapEff:\t//p; s/^NoNewPrivs:\t//p; s/^Seccomp:\t//p' /proc/$pid/status
       nsenter -t $pid -n ip -o link | wc -l
     done
     stat -c '%A %U %G' /run/${NAME} /run/${NAME}/stream.sock /etc/${NAME}`,
  );
  const [collector, capabilities = '', ...rest] = facts.trim().split('\n');
  assert.equal(collector, 'root');
  assert.equal(
    BigInt(`0x${capabilities}`),
    CAPABILITIES.reduce((mask, bit) => mask | (1n << bit), 0n),
  );
  const [user, ...others] = rest.splice(3, 2);
  assert.match(user ?? '', /^vfio-dm/);
  assert.deepEqual(
    [...others, ...rest],
    [
      ...['0000000000000000', '1', '2', '1', '1', '2', '1'],
      ...[`drwxr-x--- root ${NAME}`, `srw-rw---- root ${NAME}`, `drwxr-x--- root ${NAME}`],
    ],
    'no capabilities of the server; no new privileges, a system call filter and only the loopback device for both',
  );
}

/** A process of another user opens a device. Only with its capabilities the collector can see that in /proc. */
async function opensAsOther(lab: Lab): Promise<void> {
  const session = lab.sessionCommand(`device=${RESETTABLE}`, 'touch=/tmp/opened', 'wait=/tmp/release');
  await lab.command(
    `chmod 666 /dev/vfio/*
     setpriv --reuid=1000 --regid=1000 --clear-groups ${session} >/tmp/opened.out 2>&1 </dev/null &
     n=0; until [ -e /tmp/opened ]; do sleep 0.1; n=$((n + 1)); [ $n -lt 300 ] || { cat /tmp/opened.out; exit 1; }; done`,
  );
}

/**
 * The first scrape after a stop waits until systemd has started the server again. The new server requests a snapshot,
 * which has the device that the other user opened.
 */
async function socketStartsServer(lab: Lab): Promise<void> {
  await opensAsOther(lab);
  await lab.command(`systemctl stop ${SERVE}`);
  assert.equal((await lab.get('/-/healthy', START_SECONDS)).status, 200);
  assert.equal((await show(lab, SERVE, 'ActiveState')).ActiveState, 'active');
  await ready(lab);
  await lab.until('the device of the other user', 60, async () => {
    const { idle_devices: idle } = JSON.parse((await lab.get('/api/v1/topology')).body) as Topology;
    return idle.some(({ device }) => device === RESETTABLE);
  });
  await lab.command('touch /tmp/release');
  await exported(lab, 2);
}

/** A change of the modules causes no blind time: the sandbox allows a handover. */
async function handsOver(lab: Lab): Promise<void> {
  const { generation } = await lab.status();
  await lab.command('rmmod iommufd');
  await lab.until('the next program to take over', START_SECONDS, async () => {
    const status = await lab.status();
    return status.generation === generation + 1 && status.state === 'tracing';
  });
  assert.equal((await lab.samples()).get('blind_seconds_total'), 0);
}

const TLS = join(import.meta.dirname, '../../server/test/fixtures/tls');

/** The status of a GET over TLS; the certificate of the test names another host. */
function statusOverTls(url: string, auth?: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { rejectUnauthorized: false, ...(auth === undefined ? {} : { auth }) };
    get(url.replace('http:', 'https:'), options, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    }).on('error', reject);
  });
}

/** A web configuration and a key that only root can read are credentials of the server. */
async function readsCredentials(lab: Lab): Promise<void> {
  const config = `tls_server_config: { cert_file: ${NAME}.pem, key_file: ${NAME}.key }
basic_auth_users: { alice: "${HASH_OF_SECRET}" }
`;
  const files = Object.entries({
    'web.yml': config,
    pem: readFileSync(join(TLS, 'server.pem'), 'utf8'),
    key: readFileSync(join(TLS, 'server.key'), 'utf8'),
  });
  await lab.command(
    `mkdir -p -m 700 /etc/credstore; umask 077
     ${files.map(([name, text]) => `cat >/etc/credstore/${NAME}.${name} <<'END'\n${text}END`).join('\n')}
     echo VFIO_DMABUF_TRACER_WEB_CONFIG_FILE=/run/credentials/${SERVE}/${NAME}.web.yml >/etc/default/${NAME}
     systemctl restart ${SERVE}`,
    START_SECONDS,
  );
  const url = `${lab.url}/metrics`;
  assert.deepEqual([await statusOverTls(url), await statusOverTls(url, 'alice:secret')], [401, 200]);
  // The next start of the server is without them.
  await lab.command(`rm /etc/credstore/${NAME}.* /etc/default/${NAME}`);
}

/** A process that hangs is ended by the watchdog, one that is killed is started again, and bpftrace never stays behind. */
async function watchdogRestarts(lab: Lab): Promise<void> {
  await restarts(lab, `${signal(SERVE, 'STOP')}; ${signal(COLLECT, 'STOP')}`, SERVE, COLLECT);
  for (const unit of [SERVE, COLLECT]) {
    assert.match(await lab.command(`journalctl -q -u ${unit} -o cat`), /Watchdog timeout/);
  }
  await restarts(lab, signal(COLLECT, 'KILL'), COLLECT);
  assert.ok(Number(await lab.command('pgrep -c -x bpftrace || true')) <= 1);
}

/** One way to install, with commands of docs/install.md. */
interface Installation {
  /** Installs and starts. */
  install: string;
  /** Installs the next version, and restarts. */
  upgrade: string;
}

function installPackage(version: string): string {
  return `apt-get install -q -y --no-install-recommends ${STAGE}/files/${packageName(version)}`;
}

const FROM_PACKAGE: Installation = {
  install: installPackage(VERSION),
  upgrade: installPackage(NEXT_VERSION),
};

const INSTALL_SCRIPT = 'deploy/systemd/install.sh';
const FROM_CLONE: Installation = {
  install: `${STAGE}/${INSTALL_SCRIPT}; systemctl enable --now ${NAME}.target`,
  upgrade: `rm -rf /tmp/next; cp -r ${STAGE} /tmp/next
    sed -i 's/version:"${VERSION}"/version:"${NEXT_VERSION}"/' /tmp/next/dist/chunks/*
    sh /tmp/next/${INSTALL_SCRIPT}; systemctl restart ${COLLECT} ${SERVE}`,
};

/** Edits of units come first, so that the first start has them. */
function installsWith({ install }: Installation): Step {
  return async function installs(lab) {
    await lab.command(
      `log=${portOf('log')}; journalctl -f -o cat -u ${COLLECT} -u ${SERVE} >$log 2>&1 </dev/null &
       ${edit(SOCKET, '[Socket]\\nListenStream=\\nListenStream=0.0.0.0:10043\\n')}
       for unit in ${COLLECT} ${SERVE}; do
         ${edit('$unit', `[Service]\\nWatchdogSec=${WATCHDOG_SECONDS}\\nTimeoutStartSec=${START_SECONDS}\\n`)}
       done
       systemctl daemon-reload
       ${install}`,
      START_SECONDS,
    );
    lab.queryGuest();
  };
}

/** The next version is installed over this one while both services run. */
function upgradesWith({ upgrade }: Installation): Step {
  return async function upgrades(lab, log) {
    await lab.command(upgrade, START_SECONDS);
    const [, version] = /_build_info\{[^}]*version="([^"]+)"/.exec((await lab.get('/metrics')).body) ?? [];
    assert.equal(version, NEXT_VERSION);
    await lab.until('the new collector to start bpftrace', START_SECONDS, async () =>
      /^(bpftrace is starting|tracing) with \d+ of \d+ probes$/.test(
        (await show(lab, COLLECT, 'StatusText')).StatusText ?? '',
      ),
    );
    log(`${VERSION} was replaced by ${NEXT_VERSION}`);
  };
}

const EDITS = [COLLECT, SERVE, SOCKET].map((unit) => `/etc/systemd/system/${unit}.d`);

/** What is left: processes, files, the user, and the entry in dpkg's list. */
async function left(lab: Lab): Promise<string[]> {
  const output = await lab.command(
    `pgrep -l -x 'bpftrace|node' || true
     find /usr /etc /run /var -xdev -name '*${NAME}*' | sort
     getent passwd ${NAME} || true; dpkg-query -W -f '\${Package}' ${NAME} 2>/dev/null || true`,
  );
  return output.trim().split('\n');
}

async function assertStopped(lab: Lab): Promise<void> {
  assert.equal((await lab.get('/-/healthy')).status, 0, 'nothing listens any more');
}

/** Removal keeps the settings, and a purge leaves only the edits of units. */
async function purges(lab: Lab): Promise<void> {
  await lab.command(`touch /etc/default/${NAME} /etc/${NAME}/config.yml; apt-get remove -q -y ${NAME}`, 120);
  await assertStopped(lab);
  await lab.command(`ls /etc/default/${NAME} /etc/${NAME}/config.yml; apt-get purge -q -y ${NAME}`, 120);
  assert.deepEqual(await left(lab), EDITS);
}

/** Removal leaves nothing but the settings, the user, and the edits of units. */
async function removes(lab: Lab): Promise<void> {
  await lab.command(`${STAGE}/${INSTALL_SCRIPT} --remove`, 120);
  await assertStopped(lab);
  const [user, ...files] = (await left(lab)).reverse();
  assert.match(user ?? '', /^vfio-dmabuf-tracer:/);
  assert.deepEqual(files.reverse(), [...EDITS, `/etc/${NAME}`]);
}

/** A trial of these steps, which logs the time of each. */
function trialOf(trial: Pick<Trial, 'name' | 'title' | 'everyday'>, steps: readonly Step[]): Trial {
  return {
    ...trial,
    guest: 'systemd',
    belongs: isUsualOnce,
    run: async (lab, log) => {
      for (const step of steps) {
        const begun = Date.now();
        await step(lab, log);
        log(`${step.name}: ${Math.round((Date.now() - begun) / 1000)} s`);
      }
    },
  };
}

export const UNITS: readonly Trial[] = [
  trialOf(
    {
      name: 'systemd',
      title:
        'the Debian package and a real systemd: install, hardening, sockets, reload, watchdog, upgrade, purge',
    },
    [
      ...[
        installsWith(FROM_PACKAGE),
        assertHardened,
        ready,
        firstExport,
        assertReported,
        assertSeparated,
        socketStartsServer,
      ],
      ...[readsCredentials, upgradesWith(FROM_PACKAGE), watchdogRestarts, purges],
    ],
  ),
  trialOf(
    {
      name: 'systemd-handover',
      title:
        'installed from a clone: the sandbox allows a handover between two bpftrace programs, and an upgrade traces again',
      // Compiling three programs takes minutes in emulation.
      everyday: () => false,
    },
    [installsWith(FROM_CLONE), ready, handsOver, upgradesWith(FROM_CLONE), ready, firstExport, removes],
  ),
];
