import { isIP } from 'node:net';
import { type Problem, problemsError } from '../lib/problems.ts';
import { didYouMean } from '../lib/suggest.ts';
import { readConfigFile } from './file.ts';
import { CONFIG_KEYS, type Config, type ConfigKey, environmentName, keySchema } from './schema.ts';
import { readSetting, type Setting } from './values.ts';

const PREFIX = 'VFIO_DMABUF_TRACER_';

const NUMBER = /^\d{1,5}$/;
const URL_OF_PORT = /^(?:tcp|udp|sctp):\/\/(?:\[[0-9a-f:.]+\]|[\d.]+):\d{1,5}$/i;
/**
 * For each Service of a namespace, Kubernetes sets at least seven variables in each container (envvars.FromServices of
 * the kubelet; Docker's links are the same). If the name of a Service starts with `vfio-dmabuf-tracer`, they have our
 * prefix. Name and value must both match, so that a misspelt setting such as `…_WEB_PORT=9100` is still an error.
 */
const SERVICE_LINKS: readonly (readonly [name: RegExp, isValue: (value: string) => boolean])[] = [
  [/_SERVICE_HOST$/, (value) => isIP(value) !== 0],
  [/_SERVICE_PORT(?:_[A-Z0-9_]+)?$/, (value) => NUMBER.test(value)],
  [/_PORT(?:_\d{1,5}_(?:TCP|UDP|SCTP))?$/, (value) => URL_OF_PORT.test(value)],
  [/_PORT_\d{1,5}_(?:TCP|UDP|SCTP)_PROTO$/, (value) => /^(?:tcp|udp|sctp)$/i.test(value)],
  [/_PORT_\d{1,5}_(?:TCP|UDP|SCTP)_PORT$/, (value) => NUMBER.test(value)],
  [/_PORT_\d{1,5}_(?:TCP|UDP|SCTP)_ADDR$/, (value) => isIP(value) !== 0],
];

export interface ConfigSources {
  environment: NodeJS.ProcessEnv;
  /** Settings of the command line. */
  flags: readonly Setting[];
  /** Problems of the command line; they are reported together with all others. */
  problems?: readonly Problem[];
  /** Value of --config.file; without it, the environment variable is used. */
  file: string | undefined;
  /** Called at most once, with a message about environment variables of Kubernetes Services, which are ignored. */
  onWarning?: (text: string) => void;
}

/**
 * Loads the settings: flags override the environment, which overrides the file.
 * @throws TracerError with all problems at once
 */
export function loadConfig(sources: ConfigSources): Config {
  const problems: Problem[] = [...(sources.problems ?? [])];
  const path = sources.file ?? sources.environment[environmentName('config.file')];
  const settings: Setting[] = [];
  if (path === '') {
    const where = `environment variable ${environmentName('config.file')}`;
    problems.push({
      what: 'the path of the config file is empty',
      where,
      remedy: 'set it to a path, or unset it',
    });
  } else if (path !== undefined) {
    const file = readConfigFile(path);
    settings.push(...file.settings);
    problems.push(...file.problems);
  }
  const environment = readEnvironment(sources.environment);
  settings.push(...environment.settings, ...sources.flags);
  problems.push(...environment.problems);
  if (environment.links.length > 0) {
    const [first = ''] = environment.links;
    const more = environment.links.length === 1 ? '' : ` and ${environment.links.length - 1} more`;
    sources.onWarning?.(
      `ignored ${first}${more} in the environment: Kubernetes sets them for a Service; to avoid this, set ` +
        '`enableServiceLinks: false` in the spec of the pod',
    );
  }

  const values: Partial<Record<ConfigKey, unknown>> = {};
  for (const key of CONFIG_KEYS) values[key] = structuredClone(keySchema(key).default);
  for (const setting of settings) {
    const read = readSetting(setting);
    if ('problem' in read) problems.push(read.problem);
    else values[setting.key] = read.value;
  }
  if (problems.length > 0) {
    const usage = (sources.problems?.length ?? 0) > 0;
    throw problemsError(usage ? 'bad_usage' : 'bad_config', 'problems in the settings', problems);
  }
  return values as Config;
}

interface EnvironmentSettings {
  settings: Setting[];
  problems: Problem[];
  /** Names of variables that describe a Kubernetes Service. */
  links: string[];
}

function readEnvironment(environment: NodeJS.ProcessEnv): EnvironmentSettings {
  const known = new Map<string, ConfigKey>(CONFIG_KEYS.map((key) => [environmentName(key), key]));
  const settings: Setting[] = [];
  const problems: Problem[] = [];
  const links: string[] = [];
  for (const name of Object.keys(environment).sort()) {
    const raw = environment[name];
    if (!name.startsWith(PREFIX) || name === environmentName('config.file') || raw === undefined) continue;
    const key = known.get(name);
    if (key !== undefined) {
      const list = keySchema(key).type === 'array';
      settings.push({ key, raw: list ? raw.split(',') : raw, where: `environment variable ${name}` });
    } else if (isServiceLink(name, raw)) {
      links.push(name);
    } else {
      problems.push({
        what: `${name} is not a setting`,
        where: 'environment',
        remedy: didYouMean(name, [...known.keys()]),
      });
    }
  }
  return { settings, problems, links };
}

function isServiceLink(name: string, value: string): boolean {
  return SERVICE_LINKS.some(([shape, isValue]) => shape.test(name) && isValue(value));
}
