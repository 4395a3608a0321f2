import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Program } from '../e2e/program.ts';

const FOLDER = fileURLToPath(new URL('../../../recordings', import.meta.url));
const REPLAYS = fileURLToPath(new URL('replays.mjs', import.meta.url));

type Place = Readonly<Record<string, string>>;
/** Time zones and languages that must not change the output. Numbers, times and sorting can depend on them. */
const PLACES = [
  {},
  { TZ: 'Pacific/Chatham', LANG: 'de_DE.UTF-8', LC_ALL: 'de_DE.UTF-8' },
  { TZ: 'America/St_Johns', LANG: 'C', LC_ALL: 'C' },
  { TZ: 'Asia/Kolkata', LANG: 'tr_TR.UTF-8', LC_ALL: 'tr_TR.UTF-8' },
] as const satisfies readonly Place[];

const files = readdirSync(FOLDER);
const RECORDING = /\.ndjson(\.gz)?$/;
const recordings = files.filter((file) => RECORDING.test(file)).sort();
const program = new Program();
/** Each recording is replayed in two places; the whole set covers all places. */
const placesOf = (index: number): readonly Place[] => [
  PLACES[0],
  PLACES[1 + (index % (PLACES.length - 1))] ?? PLACES[1],
];
/** The metrics of the recordings that are replayed in a place, by recording. */
const metricsIn = new Map<Place, Promise<Map<string, string>>>();

before(() => {
  program.build();
  for (const place of PLACES) {
    const names = recordings.filter((_, index) => placesOf(index).includes(place));
    metricsIn.set(place, replays(place, 'metrics', names));
  }
});
after(() => program.remove());

/** The output of the program for these recordings, by recording. */
function replays(
  place: Place,
  what: 'metrics' | 'events',
  names: readonly string[],
): Promise<Map<string, string>> {
  const child = spawn(process.execPath, [REPLAYS, program.path, what, ...names], {
    // The metrics have the name of the source, so the recordings are named relative to their folder.
    cwd: FOLDER,
    env: place,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const out: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      try {
        assert.deepEqual([status, Buffer.concat(errors).toString()], [0, '']);
        resolve(read(Buffer.concat(out)));
      } catch (error) {
        reject(error);
      }
    });
  });
}

function read(output: Buffer): Map<string, string> {
  const printed = new Map<string, string>();
  for (let at = 0; at < output.length; ) {
    const end = output.indexOf('\n', at) + 1;
    const { recording, code, bytes } = JSON.parse(output.toString('utf8', at, end));
    assert.equal(code, 0, recording);
    printed.set(recording, output.toString('utf8', end, end + bytes));
    at = end + bytes;
  }
  return printed;
}

test('there are recordings, and each has a file of its metrics', () => {
  assert.ok(recordings.length > 0, 'no recordings/*.ndjson: `npm run lab -- all --update` writes them');
  assert.deepEqual(
    files.filter((file) => file.endsWith('.metrics')).sort(),
    recordings.map((file) => file.replace(RECORDING, '.metrics')),
  );
});

for (const [index, recording] of recordings.entries()) {
  test(`${recording} replays to its metrics byte for byte in any time zone and language`, async () => {
    const wanted = readFileSync(join(FOLDER, recording.replace(RECORDING, '.metrics')), 'utf8');
    for (const place of placesOf(index)) {
      assert.equal((await metricsIn.get(place))?.get(recording), wanted, JSON.stringify(place));
    }
  });
}

test('the events of a recording are the same in any time zone and language', async () => {
  const [recording = ''] = recordings;
  const [here, ...elsewhere] = await Promise.all(
    PLACES.map((place) => replays(place, 'events', [recording])),
  );
  assert.notEqual(here?.get(recording), '');
  for (const other of elsewhere) assert.equal(other.get(recording), here?.get(recording));
});

test('a process that replays one recording prints the same as one that replays all', () => {
  const [recording = ''] = recordings;
  const { code, stdout, stderr } = program.run(['replay', recording, '--print=metrics'], { cwd: FOLDER });
  assert.equal(code, 0, stderr);
  assert.equal(stdout, readFileSync(join(FOLDER, recording.replace(RECORDING, '.metrics')), 'utf8'));
});
