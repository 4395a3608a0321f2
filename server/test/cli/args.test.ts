import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readArgs } from '../../src/cli/args.ts';
import { COMMANDS } from '../../src/cli/commands.ts';

const problems = (...argv: string[]) => readArgs(argv).problems.map((problem) => problem.what);
const remedies = (...argv: string[]) => readArgs(argv).problems.map((problem) => problem.remedy);

test('without arguments the command is run', () => {
  const args = readArgs([]);
  assert.equal(args.command.name, 'run');
  assert.equal(args.named, false);
  assert.deepEqual(args.problems, []);
});

test('flags may come before and after the command and its file', () => {
  const args = readArgs([
    '--log.level',
    'debug',
    'replay',
    'x.gz',
    '--print=metrics',
    '--config.file=c.yaml',
  ]);
  assert.equal(args.command.name, 'replay');
  assert.equal(args.operand, 'x.gz');
  assert.equal(args.print, 'metrics');
  assert.equal(args.configFile, 'c.yaml');
  assert.deepEqual(args.settings, [{ key: 'log.level', raw: 'debug', where: 'flag --log.level' }]);
  assert.deepEqual(args.problems, []);
});

test('- is accepted as a file', () => {
  const args = readArgs(['replay', '-']);
  assert.equal(args.operand, '-');
  assert.deepEqual(args.problems, []);
});

test('a listen address may be given more than once, and other flags may not', () => {
  const args = readArgs(['--web.listen-address=:1', '--web.listen-address=:2']);
  assert.deepEqual(args.settings[0]?.raw, [':1', ':2']);
  assert.deepEqual(problems('--log.level=info', '--log.level=warn'), ['--log.level is given twice']);
});

test('a switch without a value is true, and =true or =false may follow it', () => {
  assert.equal(readArgs(['--strict']).settings[0]?.raw, 'true');
  assert.equal(readArgs(['--strict=false']).settings[0]?.raw, 'false');
  assert.deepEqual(problems('--config.check=false'), ['--config.check takes no value']);
});

for (const [name, argv, what, remedy] of [
  ['an unknown flag', ['--strct'], 'run has no flag --strct', /did you mean --strict\?/],
  ['a flag of another command', ['probes', '--strict'], 'probes has no flag --strict', /flag of `run`/],
  ['an unknown command', ['replya', 'x'], 'there is no command replya', /did you mean replay\?/],
  ['an extra argument', ['probes', 'x'], 'probes does not take the argument "x"', /usage: .* probes/],
  ['a missing file', ['record'], 'record needs a FILE', /usage: .* record FILE/],
  ['a missing value', ['--log.level'], '--log.level needs a value', /--log\.level=VALUE/],
  ['a flag in the place of a value', ['--log.level', '--strict'], '--log.level needs a value', /=VALUE/],
  ['a wrong --print', ['replay', 'x', '--print=metrix'], '--print cannot be "metrix"', /metrics/],
] as const) {
  test(`${name} is rejected with a remedy`, () => {
    assert.deepEqual(problems(...argv), [what]);
    assert.match(remedies(...argv)[0] ?? '', remedy);
  });
}

test('an empty value of a flag or an argument is an error', () => {
  for (const { name, keys, options = {} } of COMMANDS) {
    const takesValue = Object.entries(options).filter(([, { value }]) => value !== undefined);
    for (const key of ['config.file', ...keys, ...takesValue.map(([option]) => option)]) {
      assert.ok(problems(name, `--${key}=`).includes(`--${key} is empty`), `${name} --${key}=`);
      assert.ok(problems(name, `--${key}`, '').length > 0, `${name} --${key} ''`);
    }
  }
  assert.deepEqual(problems('record', ''), ['FILE of record is empty']);
  assert.deepEqual(problems('watch', ' '), ['URL of watch is empty']);
  assert.deepEqual(problems('reasons', ''), ['an argument of reasons is empty']);
});

test('the value of an unknown flag is not read as a command', () => {
  assert.deepEqual(problems('--color', 'red'), ['run has no flag --color']);
});

test('reasons accepts any number of names and --json, and run does not accept --json', () => {
  const args = readArgs(['reasons', 'revoked', '--json', 'topology']);
  assert.deepEqual([args.names, args.json, args.problems], [['revoked', 'topology'], true, []]);
  assert.deepEqual(remedies('run', '--json'), [
    'it is a flag of `doctor`; leave it out, or name that command',
  ]);
  assert.deepEqual(problems('reasons', '--json=yes'), ['--json takes no value']);
});

test('watch accepts an optional URL and its flags, and run does not accept --device', () => {
  const args = readArgs(['watch', 'http://a:1', '--device=41:00.0', '--once', '--json']);
  assert.deepEqual(
    [args.operand, args.options, args.json, args.problems],
    ['http://a:1', { device: '41:00.0', once: 'true' }, true, []],
  );
  assert.deepEqual([readArgs(['watch']).operand, readArgs(['watch']).problems], [undefined, []]);
  assert.deepEqual(problems('watch', '--device=a', '--device=b'), ['--device is given twice']);
  assert.deepEqual(problems('watch', '--once=no'), ['--once takes no value']);
  assert.deepEqual(remedies('run', '--device=a'), [
    'it is a flag of `watch`; leave it out, or name that command',
  ]);
});
