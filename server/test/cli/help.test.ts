import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMANDS, commandOf } from '../../src/cli/commands.ts';
import { commandHelp } from '../../src/cli/help.ts';
import { bufferColumns, incidentColumns, rejectionColumns } from '../../src/cli/watch/rows.ts';

test('watch --help explains each column that watch shows', () => {
  const shown = [...incidentColumns(0), ...bufferColumns(0), ...rejectionColumns(new Map(), 0)];
  const explained = commandOf('watch').columns?.flatMap(([titles]) => titles.split(', ')) ?? [];
  assert.deepEqual([...explained].sort(), [...new Set(shown.map(({ title }) => title))].sort());
  assert.match(commandHelp(commandOf('watch')), /^Columns:\n {2}SEVERITY/m);
});

test('the help prints no empty default', () => {
  for (const command of COMMANDS) assert.doesNotMatch(commandHelp(command), /\(default \)/);
});

test('a setting in seconds has the placeholder SECONDS', () => {
  assert.match(commandHelp(commandOf('run')), /--metrics\.keep-departed=SECONDS/);
});

test('the help of a command has only the exit codes and settings that apply to it', () => {
  const [run, reasons, doctor] = ['run', 'reasons', 'doctor'] as const;
  assert.match(commandHelp(commandOf(run)), /^ {2}3 {2}the host cannot be traced/m);
  assert.doesNotMatch(commandHelp(commandOf(reasons)), /^ {2}3 |--config|environment/m);
  assert.match(commandHelp(commandOf(doctor)), /^ {2}1 {2}something that tracing needs is missing/m);
  assert.match(commandHelp(commandOf('record')), /^ {2}--overwrite +replace FILE if it exists$/m);
});

test('each fault of --simulate has a line of its own', () => {
  const help = commandHelp(commandOf('run'));
  for (const fault of ['loss=PERCENT%', 'malformed=COUNT/TIME', 'crash=TIME'])
    assert.match(help, new RegExp(`^ +${fault} +\\w`, 'm'));
});
