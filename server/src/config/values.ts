import { Value } from 'typebox/value';
import { FAULTS_EXAMPLE, readFaults } from '../lib/faults.ts';
import type { Problem } from '../lib/problems.ts';
import { Config, type ConfigKey, type KeySchema, keySchema } from './schema.ts';

/** A value as given by the user, and its source: `config.yaml:3:9`, `VFIO_DMABUF_TRACER_STRICT`, `--strict`. */
export interface Setting {
  key: ConfigKey;
  /** A string from a flag or the environment (a list for list settings); any value of YAML from the file. */
  raw: unknown;
  where: string;
}

/** Converts one setting to its typed value, or returns the problem with it. */
export function readSetting(setting: Setting): { value: unknown } | { problem: Problem } {
  const schema = keySchema(setting.key);
  // Mostly the result of an unset shell variable. To ignore it would silently drop what the user wanted.
  if (typeof setting.raw === 'string' && setting.raw.trim() === '') {
    const what = `${setting.key} cannot be empty`;
    return { problem: { what, where: setting.where, remedy: `give ${expected(schema)}, or leave it out` } };
  }
  const value = convert(setting.raw, schema);
  if (Value.Check(Config.properties[setting.key], value)) {
    const reason = explainInvalid(setting.key, value);
    if (reason === undefined) return { value };
    const remedy =
      setting.key === 'simulate' ? `give faults like these: ${FAULTS_EXAMPLE}` : expected(schema);
    return { problem: { what: `${setting.key}: ${reason}`, where: setting.where, remedy } };
  }
  return {
    problem: {
      what: `${setting.key} cannot be ${formatRaw(setting.raw)}`,
      where: setting.where,
      remedy: `give ${expected(schema)}`,
    },
  };
}

/** The values that the schema accepts, as a phrase for people. */
export function expected(schema: KeySchema): string {
  if (schema.enum !== undefined) return `one of ${schema.enum.join(', ')}`;
  switch (schema.type) {
    case 'boolean':
      return 'true or false';
    case 'integer':
      return `a whole number from ${schema.minimum} to ${schema.maximum}`;
    case 'number':
      return `a number from ${schema.minimum} to ${schema.maximum}`;
    case 'array':
      return schema.items?.description ?? 'a list';
    default:
      return schema.pattern?.startsWith('^/') === true
        ? 'a path that begins with /, e.g. /metrics'
        : 'a text';
  }
}

function convert(raw: unknown, schema: KeySchema): unknown {
  if (schema.type === 'array') {
    const list = Array.isArray(raw) ? raw : [raw];
    return list.map((item) => (typeof item === 'string' ? item.trim() : item));
  }
  if (typeof raw !== 'string') return raw;
  const text = raw.trim();
  if (schema.type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  if ((schema.type === 'integer' || schema.type === 'number') && /^-?\d+(\.\d+)?$/.test(text)) {
    return Number(text);
  }
  return text;
}

/** Checks that a schema cannot express: returns why the value is not valid. */
function explainInvalid(key: ConfigKey, value: unknown): string | undefined {
  if (key === 'web.listen-address') {
    const list = value as string[];
    const high = list.find((address) => Number(address.slice(address.lastIndexOf(':') + 1)) > 65_535);
    if (high !== undefined) return `${high} has a port above 65535`;
    const twice = list.find((address, index) => list.indexOf(address) !== index && !address.endsWith(':0'));
    if (twice !== undefined) return `${twice} is given twice`;
  }
  if (key === 'web.telemetry-path' && /^\/(api|-)(\/|$)/.test(value as string)) {
    return `${value} is a path of the daemon itself`;
  }
  if (key === 'simulate') {
    const faults = readFaults(value as string);
    if (typeof faults === 'string') return faults;
  }
  return undefined;
}

function formatRaw(raw: unknown): string {
  if (raw === null || raw === undefined) return 'left without a value';
  return JSON.stringify(raw);
}
