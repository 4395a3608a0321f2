import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FAMILIES } from '../server/src/metrics/catalogue.ts';
import { PREFIX } from '../server/src/metrics/family.ts';
import { COUNTERS } from '../server/src/model/counters.ts';
import { PRIVATE_VM } from '../server/test/fixtures/golden/private-vm.ts';
import { type ParsedFamily, parseExposition } from '../server/test/fixtures/parse-exposition.ts';

const REPOSITORY = join(import.meta.dirname, '..');
export const METRICS_PAGE = join(REPOSITORY, 'docs/metrics.md');

const INTRODUCTION = `# Metrics

\`npm run docs\` writes this page from what the program serves; a test checks that it is up to date.

- The program reads the counters and histograms of kernel calls from kernel maps each second. Lost
  events do not change them. Calls that did not fit into a full map are counted by
  \`vfio_dmabuf_counts_lost_total{stage="map_full"}\`.
- A family is absent while its probe is not attached. A zero would mean that there were no calls.
- \`device\` is a PCI address. For imports it is the device that exported the buffer. It is \`unknown\`
  if that device was closed before the call, for example at the detach of a buffer that outlives its
  device. It is also \`unknown\` if KVM binds a buffer that VFIO did not export.
- \`privacy\` is that of the buffer.
- \`importer\` is the driver of the importing device, or the name of the device if it has no driver.
- \`server/src/protocol/codes.ts\` lists the values of \`privacy\`, \`stage\`, \`reason\`, \`cause\` and \`kind\`.
  [reasons.md](reasons.md) explains those of \`reason\` and \`cause\`, and the \`kind\` of a policy
  violation. [incidents.md](incidents.md) has the \`kind\` of an incident.
- A family has at most \`--metrics.max-series\` series; a histogram has at most a quarter as many
  label sets. Further label sets are added to a series whose label values are \`other\`, and counted
  by \`vfio_dmabuf_series_folded_total\`.

The program also serves metrics of its own process (\`process_*\`, \`nodejs_*\`);
\`--web.disable-exporter-metrics\` disables them.
`;

/** Starts the built program, waits until /metrics matches `complete`, and returns the text. */
async function serve(program: string, args: readonly string[], complete: RegExp): Promise<string> {
  const flags = ['--web.listen-address=127.0.0.1:0', '--web.disable-exporter-metrics', '--log.format=json'];
  const child = spawn(process.execPath, [program, ...args, ...flags], { env: {} });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      log += chunk;
    });
  }
  const closed = new Promise((resolve) => child.once('close', resolve));
  try {
    for (const end = Date.now() + 30_000; Date.now() < end && child.exitCode === null; ) {
      const url = /"url":"(http:[^"]+)"/.exec(log)?.[1];
      const text = url === undefined ? '' : await (await fetch(`${url}/metrics`)).text();
      if (complete.test(text)) return text;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`${args[0]} did not serve all metrics within 30 s:\n${log}`);
  } finally {
    child.kill();
    await closed;
  }
}

/** Every family that the program can serve, in the order in which it serves them. */
export async function allFamilies(): Promise<ParsedFamily[]> {
  const own = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-tracer-docs-'));
  // The server of `run` has another user.
  chmodSync(own, 0o755);
  try {
    const build = spawnSync(process.execPath, [join(REPOSITORY, 'tools/build.mjs'), join(own, 'dist')]);
    if (build.status !== 0) throw new Error(build.stderr.toString());
    const program = join(own, 'dist/vfio-dmabuf-tracer.mjs');
    const stream = join(own, 'stream.ndjson');
    writeFileSync(stream, `${PRIVATE_VM.join('\n')}\n`);
    // Replaying a complete stream serves the families of the kernel. `run` on a host that cannot be traced serves those
    // of the daemon.
    const replayed = await serve(program, ['replay', stream], /^vfio_dmabuf_policy_violations_total/m);
    const recording = [
      'run',
      '--simulate=loss=1%',
      '--events.output=/dev/null',
      '--record',
      join(own, 'recording'),
      '--bpftrace.path',
      join(own, 'none'),
    ];
    const served = await serve(
      program,
      recording,
      /^vfio_dmabuf_up 0$.*^vfio_dmabuf_simulation_info.*^vfio_dmabuf_recording_up/ms,
    );
    // A family without series is not served, but it is in the catalogue.
    const known = FAMILIES.map(({ name, help, type }) => ({
      name: `${PREFIX}${name}`,
      help,
      type,
      samples: [],
    }));
    const families = new Map<string, ParsedFamily>(known.map((family) => [family.name, family]));
    for (const family of [...parseExposition(served, 'text'), ...parseExposition(replayed, 'text')]) {
      families.set(family.name, family);
    }
    return [...families.values()];
  } finally {
    rmSync(own, { recursive: true });
  }
}

function labelsOf({ name, samples }: ParsedFamily): string[] {
  const [sample] = samples;
  if (sample !== undefined) return Object.keys(sample.labels).filter((label) => label !== 'le');
  const counter = name.replace(/^vfio_dmabuf_/, '').replace(/_total$/, '') as keyof typeof COUNTERS;
  if (COUNTERS[counter] === undefined) throw new Error(`the labels of ${name} are unknown: it has no sample`);
  return [...COUNTERS[counter]];
}

const DETAILS: ReadonlyMap<string, string | undefined> = new Map(
  FAMILIES.map(({ name, details }) => [`${PREFIX}${name}`, details]),
);

function row(family: ParsedFamily): string {
  const labels = labelsOf(family).map((label) => `\`${label}\``);
  const cells = [
    `\`${family.name}\``,
    family.type,
    labels.join(', ') || '-',
    [family.help, DETAILS.get(family.name) ?? ''].join(' ').trim().replaceAll('|', '\\|'),
  ];
  return `| ${cells.join(' | ')} |`;
}

/** The text of docs/metrics.md. */
export function pageOf(families: readonly ParsedFamily[]): string {
  const table = ['| metric | type | labels | meaning |', '| --- | --- | --- | --- |'];
  return `${INTRODUCTION}\n${[...table, ...families.map(row)].join('\n')}\n`;
}
