import { type ConfigKey, environmentName, keySchema } from '../config/schema.ts';
import { expected } from '../config/values.ts';
import { RESULTS } from '../contract/events.ts';
import type { CommandSpec } from './command.ts';
import { COMMANDS } from './commands.ts';
import { EXIT, EXIT_HELP } from './exit-codes.ts';

const NAME = 'vfio-dmabuf-tracer';

export function programHelp(): string {
  const width = Math.max(...COMMANDS.map((command) => command.usage.length));
  return [
    'Shows which VFIO devices export memory as dma-bufs, who imports it, which calls the kernel rejected, and why.',
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
  const flags: [string, string][] = command.keys.map((key) => [flagText(key), describe(key, command)]);
  if (command.print) {
    flags.unshift(['--print=metrics|events', 'replay to the end, print, and exit; without it, serve']);
  }
  for (const [name, { value, help }] of Object.entries(command.options ?? {}).reverse()) {
    flags.unshift([value === undefined ? `--${name}` : `--${name}=${value}`, help]);
  }
  if (command.json !== undefined) flags.unshift(['--json', command.json]);
  if (command.keys.length > 0) {
    flags.push(
      ['--config.file=PATH', 'read settings from this YAML file'],
      ['--config.check', 'check all settings and exit'],
    );
  }
  flags.push(['--help, -h', 'print this help']);
  const width = Math.max(...flags.map(([flag]) => flag.length));
  return [
    `Usage: ${NAME} ${command.usage}`,
    '',
    `${command.name}: ${command.summary}.`,
    ...command.detail,
    '',
    'Flags:',
    ...flags.map(
      ([flag, text]) => `  ${flag.padEnd(width)}  ${text.replaceAll('\n', `\n${' '.repeat(width + 4)}`)}`,
    ),
    '',
    ...columnsHelp(command),
    ...(command.keys.length === 0 ? [] : [...configHelp(), '']),
    ...exitHelp(command),
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
  if (key === 'server-user') return 'USER[:GROUP]';
  if (key === 'events.output-kinds') return 'KIND';
  if (key === 'events.output-results') return RESULTS.join('|');
  if (key === 'events.output-devices') return 'ADDRESS';
  if (key === 'simulate') return 'FAULTS';
  if (key === 'collector.group') return 'GROUP';
  if (schema.type === 'number') return 'SECONDS';
  return schema.type === 'integer' ? 'N' : 'PATH';
}

function describe(key: ConfigKey, { keyHelp }: CommandSpec): string {
  const schema = keySchema(key);
  const description = keyHelp?.[key] ?? schema.description;
  if (schema.type === 'boolean') return description;
  const choice = key === 'log.level' ? `: ${expected(schema)}` : '';
  const value = String(schema.default);
  return `${description}${choice}${value === '' ? '' : ` (default ${value})`}`;
}

function columnsHelp({ columns = [] }: CommandSpec): string[] {
  if (columns.length === 0) return [];
  const width = Math.max(...columns.map(([title]) => title.length));
  return ['Columns:', ...columns.map(([title, text]) => `  ${title.padEnd(width)}  ${text}`), ''];
}

function configHelp(): string[] {
  return [
    'A setting comes from the file, the environment or a flag. The later one in this order wins. Example:',
    `\`web: {telemetry-path: /metrics}\` in the file, ${environmentName('web.telemetry-path')}=/metrics in the`,
    'environment, --web.telemetry-path=/metrics as a flag.',
  ];
}

/** The exit codes of all commands, or of one. */
function exitHelp(command?: CommandSpec): string[] {
  const codes = EXIT_HELP.filter(
    ([code]) => code !== EXIT.untraceable || (command?.keys.includes('strict') ?? true),
  ).map(([code, text]) => {
    if (code !== EXIT.failure) return [code, text] as const;
    return [
      code,
      command === undefined ? `${text}; for \`doctor\`: something is missing` : (command.failure ?? text),
    ] as const;
  });
  return ['Exit codes:', ...codes.map(([code, text]) => `  ${code}  ${text}`)];
}
