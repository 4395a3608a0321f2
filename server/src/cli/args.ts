import { parseArgs } from 'node:util';
import { CONFIG_KEYS, isConfigKey, keySchema } from '../config/schema.ts';
import type { Setting } from '../config/values.ts';
import type { Problem } from '../lib/problems.ts';
import { didYouMean } from '../lib/suggest.ts';
import { type CommandSpec, PRINTS, type Print } from './command.ts';
import { COMMANDS, commandOf, SERVER_COMMAND } from './commands.ts';

export interface ParsedArgs {
  command: CommandSpec;
  /** The command line names the command. Then --help prints the help of the command, not of the program. */
  named: boolean;
  help: boolean;
  version: boolean;
  operand: string | undefined;
  names: readonly string[];
  json: boolean;
  print: Print | undefined;
  /** Flags of the command that are not settings. */
  options: Record<string, string>;
  configFile: string | undefined;
  configCheck: boolean;
  settings: Setting[];
  /** The flags of settings that the server of `run` also accepts, as `--name=value`. */
  serverFlags: string[];
  problems: Problem[];
}

const WHERE = 'command line';
const GLOBAL = ['help', 'version', 'config.file', 'config.check'] as const;

type Token = NonNullable<ReturnType<typeof tokenize>>[number];
type OptionToken = Extract<Token, { kind: 'option' }>;

function tokenize(argv: readonly string[]) {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean' },
    'config.file': { type: 'string' },
    'config.check': { type: 'boolean' },
    print: { type: 'string' },
    json: { type: 'boolean' },
  };
  for (const [name, { value }] of COMMANDS.flatMap((command) => Object.entries(command.options ?? {}))) {
    options[name] = { type: value === undefined ? 'boolean' : 'string' };
  }
  for (const key of CONFIG_KEYS) {
    options[key] = { type: keySchema(key).type === 'boolean' ? 'boolean' : 'string' };
  }
  return parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true }).tokens;
}

/** Parses the command line and returns all syntax errors as `problems`. It does not check the values of settings. */
export function readArgs(argv: readonly string[]): ParsedArgs {
  const tokens = tokenize(argv);
  const positionals = tokens.filter((token) => token.kind === 'positional');
  const options = tokens.filter((token) => token.kind === 'option');
  const commandNames = COMMANDS.map((command) => command.name);
  const first = positionals[0];
  const named = [...COMMANDS, SERVER_COMMAND].find((command) => command.name === first?.value);
  const parsed: ParsedArgs = {
    command: named ?? commandOf('run'),
    named: named !== undefined,
    help: false,
    version: false,
    operand: undefined,
    names: [],
    json: false,
    print: undefined,
    options: {},
    configFile: undefined,
    configCheck: false,
    settings: [],
    serverFlags: [],
    problems: [],
  };
  const known = flagsOf(parsed.command);
  const unknown = options.filter((option) => !known.includes(option.name));

  if (first !== undefined && named === undefined) {
    // An argument after an unknown flag is most likely the value of that flag.
    if (!unknown.some((option) => option.index === first.index - 1)) {
      const remedy = `${didYouMean(first.value, commandNames)}; see --help`;
      parsed.problems.push({ what: `there is no command ${first.value}`, where: WHERE, remedy });
    }
  } else {
    readOperand(
      positionals.slice(1).map((token) => token.value),
      parsed,
    );
  }
  for (const option of options) readOption(option, known, parsed);
  const { operand, optionalOperand } = parsed.command;
  if (operand !== undefined && optionalOperand !== true && parsed.operand === undefined) {
    const what = `${parsed.command.name} needs a ${parsed.command.operand}`;
    parsed.problems.push({ what, where: WHERE, remedy: `usage: vfio-dmabuf-tracer ${parsed.command.usage}` });
  }
  return parsed;
}

function readOperand(rest: readonly string[], parsed: ParsedArgs): void {
  const { command } = parsed;
  if (rest.some((argument) => argument.trim() === '')) {
    const what = `${command.operand ?? 'an argument'} of ${command.name} is empty`;
    parsed.problems.push({ what, where: WHERE, remedy: `usage: vfio-dmabuf-tracer ${command.usage}` });
  }
  if (command.names) {
    parsed.names = rest;
    return;
  }
  const operands = command.operand === undefined ? 0 : 1;
  if (operands === 1) parsed.operand = rest[0];
  for (const extra of rest.slice(operands)) {
    parsed.problems.push({
      what: `${command.name} does not take the argument ${JSON.stringify(extra)}`,
      where: WHERE,
      remedy: `usage: vfio-dmabuf-tracer ${command.usage}`,
    });
  }
}

function readOption(option: OptionToken, known: readonly string[], parsed: ParsedArgs): void {
  const { name, rawName, problems } = { ...option, problems: parsed.problems };
  if (!known.includes(name)) {
    const other = COMMANDS.find((command) => flagsOf(command).includes(name));
    const remedy =
      other === undefined
        ? didYouMean(
            rawName,
            known.map((flag) => `--${flag}`),
          )
        : `it is a flag of \`${other.name}\`; leave it out, or name that command`;
    problems.push({ what: `${parsed.command.name} has no flag ${rawName}`, where: WHERE, remedy });
    return;
  }
  const commandOption = parsed.command.options?.[name];
  const isSwitch =
    GLOBAL_SWITCHES.includes(name) || (commandOption !== undefined && commandOption.value === undefined);
  const flag = isConfigKey(name) ? keySchema(name).type === 'boolean' : isSwitch;
  if (isSwitch && option.inlineValue === true) {
    problems.push({ what: `${rawName} takes no value`, where: WHERE, remedy: `write ${rawName}` });
    return;
  }
  const value = option.value ?? (flag ? 'true' : undefined);
  if (value?.trim() === '') {
    problems.push({
      what: `${rawName} is empty`,
      where: WHERE,
      remedy: `write ${rawName}=VALUE, or leave it out`,
    });
    return;
  }
  // parseArgs accepts any next argument as the value. If that argument is a flag, the value is missing.
  if (value === undefined || (!flag && option.inlineValue === false && /^-./.test(value))) {
    const remedy = `write ${rawName}=VALUE`;
    problems.push({ what: `${rawName} needs a value`, where: WHERE, remedy });
    return;
  }
  if (name === 'config.file' || (isConfigKey(name) && SERVER_COMMAND.keys.includes(name)))
    parsed.serverFlags.push(`--${name}=${value}`);
  if (isConfigKey(name)) {
    const earlier = parsed.settings.find((setting) => setting.key === name);
    if (earlier !== undefined && keySchema(name).type === 'array') (earlier.raw as string[]).push(value);
    else if (earlier !== undefined) {
      problems.push({ what: `${rawName} is given twice`, where: WHERE, remedy: 'keep one of them' });
    } else {
      const raw = keySchema(name).type === 'array' ? [value] : value;
      parsed.settings.push({ key: name, raw, where: `flag ${rawName}` });
    }
    return;
  }
  if (commandOption === undefined) readGlobal(name, value, parsed);
  else if (Object.hasOwn(parsed.options, name)) {
    problems.push({ what: `${rawName} is given twice`, where: WHERE, remedy: 'keep one of them' });
  } else parsed.options[name] = value;
}

const GLOBAL_SWITCHES: readonly string[] = ['help', 'version', 'config.check', 'json'];

function readGlobal(name: string, value: string, parsed: ParsedArgs): void {
  switch (name) {
    case 'help':
      parsed.help = true;
      return;
    case 'version':
      parsed.version = true;
      return;
    case 'config.check':
      parsed.configCheck = true;
      return;
    case 'json':
      parsed.json = true;
      return;
    case 'config.file':
      parsed.configFile = value;
      return;
    case 'print':
      parsed.print = PRINTS.find((print) => print === value);
      if (parsed.print === undefined) {
        const what = `--print cannot be ${JSON.stringify(value)}`;
        parsed.problems.push({ what, where: 'flag --print', remedy: didYouMean(value, PRINTS) });
      }
  }
}

function flagsOf(command: CommandSpec): readonly string[] {
  const outputFlags = [...(command.print ? ['print'] : []), ...(command.json === undefined ? [] : ['json'])];
  return [...command.keys, ...outputFlags, ...Object.keys(command.options ?? {}), ...GLOBAL];
}
