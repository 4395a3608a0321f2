import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { CommandError } from '../lab/src/shell.ts';

const REPOSITORY = join(import.meta.dirname, '..');
const FILE = '/usr/share/doc/vfio-dmabuf-tracer/sbom.cdx.json';
/** Packages of the program and of the page that are certainly in the build. */
const NPM = ['fastify', 'pino', 'prom-client', 'preact', 'uplot'];
/** A package that the build uses, but that is not in its result. */
const NOT_IN_BUILD = 'esbuild';

interface Sbom {
  components: { name: string; version: string; purl: string }[];
}

/**
 * Checks the SBOM in the image against the schema of CycloneDX, package-lock.json, and what dpkg lists in the image.
 *
 * @param inside runs a command in the image and resolves with its output
 * @throws CommandError
 */
export async function checkSbom(
  inside: (command: readonly string[]) => Promise<string>,
  nodeVersion: string,
): Promise<void> {
  const text = await inside(['cat', FILE]);
  const problems = await new Validation.JsonStrictValidator(Spec.Version.v1dot5).validate(text);
  if (problems !== null) throw new CommandError(`${FILE} is not valid: ${JSON.stringify(problems)}`);
  const { components } = JSON.parse(text) as Sbom;
  const found = new Set(components.map(({ name, version, purl }) => `${kindOf(purl)} ${name} ${version}`));
  const { packages } = JSON.parse(readFileSync(join(REPOSITORY, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string }>;
  };
  // One line for each package: `libc6:amd64`, a tab, the version. Some names have no architecture.
  const installed = await inside(['dpkg-query', '--show']);
  const wanted = [
    `generic node ${nodeVersion}`,
    ...NPM.map((name) => `npm ${name} ${packages[`node_modules/${name}`]?.version}`),
    ...installed
      .trim()
      .split('\n')
      .map((line) => `deb ${line.replace(/(:\w+)?\t/, ' ')}`),
  ];
  const missing = wanted.filter((one) => !found.has(one));
  if (missing.length > 0) throw new CommandError(`${FILE} does not name ${missing.join(', ')}`);
  if (components.some(({ name }) => name === NOT_IN_BUILD))
    throw new CommandError(`${FILE} names ${NOT_IN_BUILD}, which is not in the image`);
}

/** The type of a package URL, such as `npm`. */
function kindOf(purl: string): string {
  return /^pkg:([a-z]+)\//.exec(purl)?.[1] ?? '';
}
