// Collects the licenses of the packages that a build contains. They require that a copy keeps their text.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './build-options.mjs';

/** The folder of the package that a file belongs to: the last one below node_modules. */
const PACKAGE = /^.*\bnode_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/;
/** NOTICE is part of the Apache license. */
const TEXT = /^(?:li[cs]en[cs]e|copying|notice)(?:[.-]|$)/i;
/** Texts of packages that have no such file. The names contain the version, so that an upgrade is checked again. */
const MISSING = join(root, 'tools/licenses');

/** Folders of the packages whose code is in these outputs of esbuild, relative to the repository. */
export const bundledFolders = (...metafiles) =>
  new Set(
    metafiles
      .flatMap(({ outputs }) => Object.values(outputs))
      .flatMap(({ inputs }) => Object.entries(inputs))
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([file]) => PACKAGE.exec(file)?.[0])
      .filter((folder) => folder !== undefined),
  );

/**
 * Name, version, license and its text for each package in these outputs of esbuild.
 *
 * @throws if a package has no license or no text
 */
export const thirdPartyLicenses = (...metafiles) => {
  // Two folders can contain the same package in the same version.
  const sections = new Set([...bundledFolders(...metafiles)].map((folder) => sectionOf(join(root, folder))));
  const line = '='.repeat(80);
  const intro = 'vfio-dmabuf-tracer contains these packages. Its own license is not in this file.';
  return [intro, ...[...sections].sort()].join(`\n\n${line}\n`).concat('\n');
};

const sectionOf = (folder) => {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  if (typeof license !== 'string')
    throw new Error(`${name} ${version} is bundled, but its package.json names no license`);
  const missing = join(MISSING, `${name.replace('/', '-')}-${version}.txt`);
  const texts = readdirSync(folder)
    .filter((file) => TEXT.test(file))
    .sort()
    .map((file) => join(folder, file));
  if (texts.length === 0 && existsSync(missing)) texts.push(missing);
  if (texts.length === 0)
    throw new Error(
      `${name} ${version} (${license}) is bundled, but has no license text: look for it in the package and its ` +
        `repository, and write it to ${missing}`,
    );
  const read = (file) => readFileSync(file, 'utf8').replaceAll('\r\n', '\n').trim();
  return [`${name} ${version} (${license})`, ...texts.map(read)].join('\n\n');
};
