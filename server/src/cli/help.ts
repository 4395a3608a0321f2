import { type ConfigKey, environmentName, keySchema } from '../config/schema.ts';
import { expected } from '../config/values.ts';
import { COMMANDS, type CommandSpec } from './commands.ts';
import { EXIT_HELP } from './exit-codes.ts';

const NAME = 'vfio-dmabuf-tracer';

export function programHelp(): string {
  const width = Math.max(...COMMANDS.map((command) => command.usage.length));
  return [
    'Shows which VFIO device exports its memory as a dma-buf to whom, which import the kernel rejected, and why.',
    '',
    'Usage:',
    ...COMMANDS.map((command) => `  ${NAME} ${command.usage.padEnd(width)}  ${command.summary}`),
    '',
    `  ${NAME} COMMAND --help   the flags of one command`,
    `  ${NAME} --version`,
    '',
    ...configHelp(),
    '',
    ...exitHelp(),
    '',
  ].join('\n');
}

export function commandHelp(command: CommandSpec): string {
  const flags: [string, string][] = command.keys.map((key) => [flagText(key), describe(key)]);
  if (command.print) {
    flags.unshift(['--print=metrics|events', 'replay to the end, print, and exit; without it, serve']);
  }
  for (const [name, { value, help }] of Object.entries(command.options ?? {}).reverse()) {
    flags.unshift([value === undefined ? `--${name}` : `--${name}=${value}`, help]);
  }
  if (command.json !== undefined) flags.unshift(['--json', command.json]);
  flags.push(
    ['--config.file=PATH', 'read settings from this YAML file'],
    ['--config.check', 'check all settings, say so, and exit'],
    ['--help, -h', 'print this'],
  );
  const width = Math.max(...flags.map(([flag]) => flag.length));
  return [
    `Usage: ${NAME} ${command.usage}`,
    '',
    `${command.name}: ${command.summary}.`,
    ...command.detail,
    '',
    'Flags:',
    ...flags.map(([flag, text]) => `  ${flag.padEnd(width)}  ${text}`),
    '',
    ...configHelp(),
    '',
    ...exitHelp(),
    '',
  ].join('\n');
}

function flagText(key: ConfigKey): string {
  const schema = keySchema(key);
  if (schema.type === 'boolean') return `--${key}`;
  return `--${key}=${placeholder(key)}`;
}

function placeholder(key: ConfigKey): string {
  const schema = keySchema(key);
  if (schema.enum !== undefined) return key === 'log.level' ? 'LEVEL' : schema.enum.join('|');
  if (key === 'web.listen-address') return 'HOST:PORT';
  if (key === 'web.allowed-hosts') return 'NAME';
  if (key === 'simulate') return 'FAULTS';
  if (schema.type === 'number') return 'SECONDS';
  return schema.type === 'integer' ? 'N' : 'PATH';
}

function describe(key: ConfigKey): string {
  const schema = keySchema(key);
  if (schema.type === 'boolean') return schema.description;
  const choice = key === 'log.level' ? `: ${expected(schema)}` : '';
  const value = String(schema.default);
  return `${schema.description}${choice}${value === '' ? '' : ` (default ${value})`}`;
}

function configHelp(): string[] {
  return [
    'Settings come from the file, then the environment, then the flags; the later wins. In the file the dots are',
    `levels (\`web: {telemetry-path: /metrics}\`); in the environment --web.telemetry-path is`,
    `${environmentName('web.telemetry-path')}.`,
  ];
}

function exitHelp(): string[] {
  return ['Exit codes:', ...EXIT_HELP.map(([code, text]) => `  ${code}  ${text}`)];
}
