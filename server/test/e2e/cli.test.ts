import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { constants, gzipSync } from 'node:zlib';
import { COMMANDS } from '../../src/cli/commands.ts';
import { eventually } from '../fixtures/eventually.ts';
import { STREAM } from '../http/build.ts';
import { Program } from './program.ts';

const program = new Program();
const plain = join(program.folder, 'stream.jsonl');
const packed = join(program.folder, 'stream.jsonl.gz');

before(() => {
  program.build();
  const text = `${STREAM.join('\n')}\n`;
  writeFileSync(plain, text);
  writeFileSync(packed, gzipSync(text));
});
after(() => program.remove());

/** A gzip file as a killed recorder leaves it: all bytes are there, but the end of the gzip stream is missing. */
function flushed(text: string) {
  return gzipSync(text, { finishFlush: constants.Z_SYNC_FLUSH });
}

test('--version prints only the version', () => {
  const { code, stdout, stderr } = program.run(['--version']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

test('--help names every command and every exit code', () => {
  const { code, stdout } = program.run(['--help']);
  assert.equal(code, 0);
  for (const { name } of COMMANDS) assert.match(stdout, new RegExp(`vfio-dmabuf-tracer \\[?${name}`));
  for (const exit of [0, 1, 2, 3]) assert.match(stdout, new RegExp(`^ {2}${exit} {2}`, 'm'));
});

for (const command of COMMANDS) {
  test(`${command.name} --help names each of its flags`, () => {
    const { code, stdout } = program.run([command.name, '--help']);
    assert.equal(code, 0);
    for (const key of command.keys) assert.ok(stdout.includes(`--${key}`), key);
  });
}

test('the help has the default number of keys of a map', () => {
  assert.match(program.run(['run', '--help']).stdout, /^ {2}--bpftrace\.map-keys=N .*\(default 4096\)$/m);
});

test('an unknown flag and bad values are reported together with remedies, and the exit code is 2', () => {
  const { code, stdout, stderr } = program.run(['--strct', '--stale-after=soon', '--web.max-requests=-1']);
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(stderr, /did you mean --strict\?/);
  assert.match(stderr, /stale-after cannot be "soon"\n.*flag --stale-after\n.*a number from 1 to 3600/);
  assert.match(stderr, /a whole number from 0 to 10000/);
  assert.doesNotMatch(stderr, /\.mjs:\d+|^\s+at /m);
});

test('--config.check reports whether the settings are correct, and the line of a wrong setting', () => {
  assert.equal(program.run(['--config.check']).stdout, 'the configuration is correct\n');
  const file = join(program.folder, 'bad.yaml');
  writeFileSync(file, 'log:\n  level: loud\n');
  const { code, stderr } = program.run(['--config.check', '--config.file', file]);
  assert.equal(code, 2);
  assert.ok(stderr.includes(`${file}:2:10`), stderr);
});

test('a replay prints the same bytes each time, from a plain file, a gzip file or the standard input', () => {
  const first = program.run(['replay', plain, '--print', 'metrics']);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^vfio_dmabuf_exports_total\{device="0000:41:00.0",privacy="private"\} 1$/m);
  assert.equal(program.run(['replay', plain, '--print', 'metrics']).stdout, first.stdout);
  const nameless = (text: string) => text.replaceAll(/^vfio_dmabuf_source_info.*$/gm, '');
  const gzip = program.run(['replay', packed, '--print', 'metrics']);
  assert.equal(nameless(gzip.stdout), nameless(first.stdout));
  const stdin = program.run(['replay', '-', '--print=metrics'], { input: `${STREAM.join('\n')}\n` });
  assert.equal(nameless(stdin.stdout), nameless(first.stdout));
});

test('a replay prints its events, one line of JSON each', () => {
  const { code, stdout } = program.run(['replay', packed, '--print=events']);
  assert.equal(code, 0);
  const kinds = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).kind);
  assert.deepEqual(kinds.slice(0, 3), ['export', 'incident', 'import']);
  assert.equal(kinds.length, 10);
});

for (const [name, content] of [
  ['a gzip file that is cut before its header ends', gzipSync(`${STREAM.join('\n')}\n`).subarray(0, 60)],
  ['a file that is not a recording', 'hello\nworld\n'],
  ['an empty file', ''],
] as const) {
  test(`${name} is rejected without a stack trace, and no metrics are printed`, () => {
    const file = join(program.folder, 'broken');
    writeFileSync(file, content);
    const { code, stdout, stderr } = program.run(['replay', file, '--print=metrics']);
    assert.deepEqual([code, stdout], [1, '']);
    assert.ok(stderr.includes(file), stderr);
    assert.doesNotMatch(stderr, /internal error|\.mjs:\d+/);
  });
}

for (const [how, content, lines] of [
  ['between two lines', (text: string) => flushed(text), 13],
  ['within a line', (text: string) => flushed(text.slice(0, -8)), 12],
] as const) {
  test(`a gzip recording that a crash cut ${how} is replayed up to the cut, and reported as incomplete`, () => {
    const text = STREAM.slice(0, 13).map((line) => `${line}\n`);
    const file = join(program.folder, 'cut.gz');
    writeFileSync(file, content(text.join('')));
    const whole = join(program.folder, 'whole');
    writeFileSync(whole, text.slice(0, lines).join(''));
    const nameless = (print: string) => print.replaceAll(/^vfio_dmabuf_source_info.*$/gm, '');
    const { code, stdout, stderr } = program.run(['replay', file, '--print=metrics']);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^vfio-dmabuf-tracer: the recording is truncated \(.*too early\); the lines before the end were read\n/,
    );
    assert.ok(stderr.includes(file), stderr);
    const cut = 13 - lines;
    const truncated = (count: number) => `vfio_dmabuf_decode_errors_total{reason="truncated_line"} ${count}`;
    assert.ok(stdout.includes(truncated(cut)), stdout);
    assert.equal(
      nameless(stdout).replace(truncated(cut), truncated(0)),
      nameless(program.run(['replay', whole, '--print=metrics']).stdout),
    );
    const events = program.run(['replay', file, '--print=events']);
    assert.deepEqual([events.code, events.stdout.trimEnd().split('\n').length], [1, 10]);
  });
}

test('a plain recording that is cut within its last line is replayed up to that line, and the line is counted', () => {
  const file = join(program.folder, 'cut');
  writeFileSync(file, `${STREAM.join('\n')}`);
  const { code, stdout, stderr } = program.run(['replay', file, '--print=metrics']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^vfio_dmabuf_decode_errors_total\{reason="truncated_line"\} 1$/m);
});

test('a file that does not exist is named in the error', () => {
  const { code, stderr } = program.run(['replay', '/nowhere.gz', '--print=metrics']);
  assert.equal(code, 1);
  assert.match(stderr, /\/nowhere\.gz/);
});

test('a served replay is ready when it was read, is marked as a replay, and exits with 0', async (t) => {
  const serving = await program.serve(t, ['replay', packed]);
  const ask = (path: string) => fetch(`${serving.url}${path}`);
  await serving.until(async () => (await ask('/-/ready')).status === 200, 'the replay to be ready');
  const status = (await (await ask('/api/v1/status')).json()) as { source: object };
  assert.deepEqual(status.source, { kind: 'replay', name: 'stream.jsonl.gz' });
  assert.match(await (await ask('/')).text(), /replay of .*not this host/);
  const api = (await (await ask('/openapi.json')).json()) as { info: { version: string }; paths: object };
  assert.equal(api.info.version, program.run(['--version']).stdout.trim());
  assert.ok('/api/v1/buffers' in api.paths);
  assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_scrapes_rejected_total 0$/m);
  const stream = await ask('/api/v1/stream');
  serving.child.kill('SIGTERM');
  assert.equal(await serving.ended, 0);
  assert.match(await stream.text(), /stream of log/);
});

for (const [command, file] of [
  ['replay', '/nowhere.gz'],
  ['serve', '/nowhere.gz'],
  ['replay', '/tmp'],
] as const) {
  test(`${command} ${file} fails before it listens`, () => {
    const { code, stdout, stderr } = program.run([command, file, '--web.listen-address=127.0.0.1:0']);
    assert.equal(code, 1);
    assert.match(stderr, /the recording cannot be read/);
    assert.doesNotMatch(stdout, /listening/);
  });
}

test('a served replay of a broken recording exits with 1', () => {
  const file = join(program.folder, 'broken');
  writeFileSync(file, 'hello\n');
  assert.equal(program.run(['replay', file, '--web.listen-address=127.0.0.1:0']).code, 1);
});

test('an address in use is reported with a remedy, and the exit code is 1', async (t) => {
  const serving = await program.serve(t, ['replay', packed]);
  const address = serving.url.slice('http://'.length);
  const { code, stderr } = program.run(['replay', plain, `--web.listen-address=${address}`]);
  assert.equal(code, 1);
  assert.match(stderr, /another program already listens on it/);
  assert.match(stderr, /fix: .*--web\.listen-address/);
});

test('the probes are in the folder of the built program', () => {
  assert.ok(existsSync(join(program.dist, 'probes', 'export.bt')));
});

const NO_BPFTRACE = '--bpftrace.path=/nowhere/bpftrace';

test('record writes a new file for its owner only, keeps an existing file, and replaces it with --overwrite', async (t) => {
  const file = join(program.folder, 'recorded.ndjson');
  const recordOnce = async (...flags: string[]): Promise<[number | null, string]> => {
    const recording = program.start(t, ['record', file, NO_BPFTRACE, ...flags]);
    await recording.until(() => /"recording;|exists/.test(recording.log), 'the recording to start or fail');
    // If it does not record, it exits by itself; a signal would end it before that.
    if (!recording.log.includes('exists')) recording.child.kill('SIGTERM');
    return [await recording.ended, recording.log];
  };
  assert.equal((await recordOnce())[0], 0);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const first = readFileSync(file, 'utf8');
  assert.match(first, /^\{"type":"header"/);
  const [code, log] = await recordOnce();
  assert.equal(code, 1);
  assert.match(log, /the file exists and is kept\n.*recorded\.ndjson\n.*--overwrite/);
  assert.equal(readFileSync(file, 'utf8'), first);
  assert.equal((await recordOnce('--overwrite'))[0], 0);
  assert.notEqual(readFileSync(file, 'utf8'), first);
});

test('record does not follow a symbolic link', () => {
  const victim = join(program.folder, 'victim');
  const link = join(program.folder, 'link');
  writeFileSync(victim, 'precious');
  symlinkSync(victim, link);
  for (const flags of [[], ['--overwrite']]) {
    const { code, stderr } = program.run(['record', link, NO_BPFTRACE, ...flags]);
    assert.equal(code, 1);
    assert.match(stderr, /it is a symbolic link, which is not followed/);
  }
  assert.equal(readFileSync(victim, 'utf8'), 'precious');
});

test('SIGTERM ends record and run while their named pipe has no reader', async (t) => {
  const pipe = join(program.folder, 'pipe');
  assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
  const recording = program.start(t, ['record', pipe, NO_BPFTRACE]);
  await recording.until(() => recording.log.includes('no reader yet'), 'record to wait for a reader');
  recording.child.kill('SIGTERM');
  assert.equal(await recording.ended, 0);
  const serving = await program.serve(t, ['run', `--record=${pipe}`, NO_BPFTRACE]);
  await serving.until(() => serving.log.includes('cannot be traced'), 'run to start without a reader');
  serving.child.kill('SIGTERM');
  assert.equal(await serving.ended, 0);
});

test('each new run records to a file with the next number', async (t) => {
  const file = join(program.folder, 'service.ndjson');
  for (const name of ['service.ndjson', 'service.2.ndjson', 'service.3.ndjson']) {
    const serving = await program.serve(t, ['run', `--record=${file}`, NO_BPFTRACE]);
    await serving.until(
      () => serving.log.includes(`"file":"${join(program.folder, name)}","msg":"recording"`),
      name,
    );
    serving.child.kill('SIGTERM');
    assert.equal(await serving.ended, 0);
    assert.match(readFileSync(join(program.folder, name), 'utf8'), /^\{"type":"header"/);
  }
});

test('record to standard output appends to a file, and writes to a pipe', async (t) => {
  const file = join(program.folder, 'appended');
  writeFileSync(file, 'before\n');
  const fd = openSync(file, 'a');
  for (const target of ['-', '/dev/stdout']) {
    const child = spawn(process.execPath, [program.path, 'record', target, NO_BPFTRACE], {
      env: {},
      stdio: ['ignore', fd, 'pipe'],
    });
    t.after(() => child.kill('SIGKILL'));
    let log = '';
    child.stderr?.on('data', (chunk) => {
      log += chunk;
    });
    await eventually(() => assert.match(log, /recording;/));
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'close'), [0, null]);
  }
  assert.match(readFileSync(file, 'utf8'), /^before\n\{"type":"header".*\n\{"type":"header"/s);
  const piped = program.start(t, ['record', '-', NO_BPFTRACE]);
  await piped.until(() => piped.log.includes('{"type":"header"'), 'the stream');
  piped.child.kill('SIGTERM');
  assert.equal(await piped.ended, 0);
});

test('an empty recording path and other empty values are errors', () => {
  for (const args of [
    ['run', '--record='],
    ['record', ''],
    ['run', '--config.file='],
    ['watch', '--device='],
  ]) {
    const { code, stderr } = program.run(args);
    assert.equal(code, 2, args.join(' '));
    assert.match(stderr, /empty/);
  }
  const { code, stderr } = program.run(['run'], { env: { VFIO_DMABUF_TRACER_RECORD: '' } });
  assert.equal(code, 2);
  assert.match(stderr, /record cannot be empty\n.*VFIO_DMABUF_TRACER_RECORD/);
});

test('variables of a Kubernetes Service cause one warning on standard error', () => {
  const env = {
    VFIO_DMABUF_TRACER_METRICS_SERVICE_HOST: '10.0.0.1',
    VFIO_DMABUF_TRACER_METRICS_PORT: 'tcp://10.0.0.1:10043',
    VFIO_DMABUF_TRACER_METRICS_PORT_10043_TCP_PROTO: 'tcp',
  };
  const { code, stdout, stderr } = program.run(['run', '--config.check'], { env });
  assert.deepEqual([code, stdout], [0, 'the configuration is correct\n']);
  assert.match(
    stderr,
    /^vfio-dmabuf-tracer: warning: ignored VFIO_DMABUF_TRACER_METRICS_PORT and 2 more in the environment: .*\n$/,
  );
});

test('an error that quotes a file, the environment or the command line has no control characters', () => {
  const evil = 'x\x1b]0;owned\x07\x1b[2J\u009b31m\u202e';
  const file = join(program.folder, 'evil.yaml');
  writeFileSync(file, JSON.stringify({ [evil]: 1, log: { level: evil } }));
  const runs = [
    program.run(['--config.check', `--config.file=${file}`]),
    program.run(['--config.check', `--config.file=/nowhere/${evil}`]),
    program.run(['--config.check'], {
      env: { [`VFIO_DMABUF_TRACER_${evil}`]: evil, VFIO_DMABUF_TRACER_RECORD: '' },
    }),
    program.run(['replay', `/nowhere/${evil}`, '--print=metrics']),
    program.run(['reasons', evil]),
    program.run([evil]),
    program.run(['doctor', `--bpftrace.path=/nowhere/${evil}`]),
    program.run(['watch', evil]),
  ];
  for (const { code, stdout, stderr } of runs) {
    assert.notEqual(code, 0);
    assert.match(stdout + stderr, /owned/);
    assert.doesNotMatch(stdout + stderr, /[^\P{Cc}\n\t]|\p{Cf}/u);
  }
});

test('doctor reports what is missing on this host, exits with 1, and prints the same checks as JSON', () => {
  const args = ['doctor', '--bpftrace.path=/nowhere/bpftrace'];
  const { code, stdout, stderr } = program.run(args);
  assert.deepEqual([code, stderr], [1, '']);
  assert.match(stdout, /^missing {2}bpftrace +there is no executable \/nowhere\/bpftrace\n +fix: /m);
  assert.match(stdout, /cannot be traced: \d+ missing/);
  const json = program.run([...args, '--json']);
  assert.equal(json.code, 1);
  const { traceable, checks } = JSON.parse(json.stdout) as { traceable: boolean; checks: { name: string }[] };
  assert.equal(traceable, false);
  for (const { name } of checks) assert.ok(stdout.includes(name), name);
});
