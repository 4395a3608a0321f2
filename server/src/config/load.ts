import { type Problem, problemsError } from '../support/problems.ts';
import { didYouMean } from '../support/suggest.ts';
import { readConfigFile } from './file.ts';
import { CONFIG_KEYS, type Config, type ConfigKey, environmentName, keySchema } from './schema.ts';
import { readSetting, type Setting } from './values.ts';

const PREFIX = 'VFIO_DMABUF_TRACER_';

/** What Kubernetes sets in every container near a Service that has the program's name: not meant for us. */
const KUBERNETES = /^(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)$/;

export interface ConfigSources {
  environment: NodeJS.ProcessEnv;
  /** Settings of the command line, and what was wrong on it; both are reported together with the rest. */
  flags: readonly Setting[];
  problems?: readonly Problem[];
  /** Path given as --config.file; the environment's is the fallback. */
  file: string | undefined;
}

/** File, then environment, then flags: the later wins. Everything that is wrong is said in one error. */
export function loadConfig(sources: ConfigSources): Config {
  const problems: Problem[] = [...(sources.problems ?? [])];
  const path = sources.file ?? sources.environment[environmentName('config.file')];
  const settings: Setting[] = [];
  if (path !== undefined && path !== '') {
    const file = readConfigFile(path);
    settings.push(...file.settings);
    problems.push(...file.problems);
  }
  const environment = readEnvironment(sources.environment);
  settings.push(...environment.settings, ...sources.flags);
  problems.push(...environment.problems);

  const values: Partial<Record<ConfigKey, unknown>> = {};
  for (const key of CONFIG_KEYS) values[key] = structuredClone(keySchema(key).default);
  for (const setting of settings) {
    const read = readSetting(setting);
    if ('problem' in read) problems.push(read.problem);
    else values[setting.key] = read.value;
  }
  if (problems.length > 0) {
    const usage = (sources.problems?.length ?? 0) > 0;
    throw problemsError(usage ? 'bad_usage' : 'bad_config', 'things are wrong', problems);
  }
  return values as Config;
}

function readEnvironment(environment: NodeJS.ProcessEnv): { settings: Setting[]; problems: Problem[] } {
  const known = new Map<string, ConfigKey>(CONFIG_KEYS.map((key) => [environmentName(key), key]));
  const settings: Setting[] = [];
  const problems: Problem[] = [];
  for (const name of Object.keys(environment).sort()) {
    const raw = environment[name];
    if (!name.startsWith(PREFIX) || name === environmentName('config.file') || raw === undefined) continue;
    const key = known.get(name);
    if (key !== undefined) {
      const list = keySchema(key).type === 'array';
      settings.push({ key, raw: list ? raw.split(',') : raw, where: `environment variable ${name}` });
    } else if (!KUBERNETES.test(name.slice(PREFIX.length))) {
      problems.push({
        what: `${name} sets nothing`,
        where: 'environment',
        remedy: didYouMean(name, [...known.keys()]),
      });
    }
  }
  return { settings, problems };
}
