import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Program } from '../e2e/program.ts';

const FOLDER = fileURLToPath(new URL('../../../recordings', import.meta.url));

/** Places and languages of the process that must not change a byte: numbers, times and sorting depend on them. */
const PLACES: readonly Record<string, string>[] = [
  {},
  { TZ: 'Pacific/Chatham', LANG: 'de_DE.UTF-8', LC_ALL: 'de_DE.UTF-8' },
  { TZ: 'America/St_Johns', LANG: 'C', LC_ALL: 'C' },
  { TZ: 'Asia/Kolkata', LANG: 'tr_TR.UTF-8', LC_ALL: 'tr_TR.UTF-8' },
];

const files = readdirSync(FOLDER);
const RECORDING = /\.ndjson(\.gz)?$/;
const recordings = files.filter((file) => RECORDING.test(file)).sort();
const program = new Program();
before(() => program.build());
after(() => program.remove());

/** From the recordings' own folder: the name of the source is in the metrics. */
const print = (recording: string, what: 'metrics' | 'events', env: Record<string, string>): string => {
  const { code, stdout, stderr } = program.run(['replay', recording, '--print', what], { env, cwd: FOLDER });
  assert.equal(code, 0, stderr);
  return stdout;
};

test('there are recordings, each with the metrics that it comes to', () => {
  assert.ok(recordings.length > 0, 'no recordings/*.ndjson: `npm run lab -- all --update` writes them');
  assert.deepEqual(
    files.filter((file) => file.endsWith('.metrics')).sort(),
    recordings.map((file) => file.replace(RECORDING, '.metrics')),
  );
});

for (const [index, recording] of recordings.entries()) {
  test(`${recording} comes to its metrics, byte for byte, wherever it is replayed`, () => {
    const wanted = readFileSync(join(FOLDER, recording.replace(RECORDING, '.metrics')), 'utf8');
    // Two places for each recording, all of them over the whole set: a replay starts a process.
    for (const place of [{}, PLACES[1 + (index % (PLACES.length - 1))] ?? {}]) {
      assert.equal(print(recording, 'metrics', place), wanted, JSON.stringify(place));
    }
  });
}

test('the events of a recording are the same wherever it is replayed', () => {
  const [recording = ''] = recordings;
  const [here, ...elsewhere] = PLACES.map((place) => print(recording, 'events', place));
  assert.notEqual(here, '');
  for (const other of elsewhere) assert.equal(other, here);
});
