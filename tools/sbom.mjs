// Prints what the image contains, as a CycloneDX document: the npm packages whose code is in the build, Node, and the
// Debian packages. Reads those from standard input, one a line: name, version and architecture, separated by tabs.
// `npm sbom` knows all packages of package-lock.json; esbuild knows which of them are in the build.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { build } from 'esbuild';
import { pageOptions, programOptions, root } from './build-options.mjs';
import { bundledFolders } from './third-party-licenses.mjs';

const NODE = process.versions.node;

const npmSbom = () => {
  const flags = ['--package-lock-only', '--sbom-format=cyclonedx'];
  return JSON.parse(execFileSync('npm', ['sbom', ...flags], { cwd: root, maxBuffer: 64 << 20 }));
};

const debianComponents = () =>
  readFileSync(0, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [name, version, architecture] = line.split('\t');
      const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}&distro=trixie`;
      return { 'bom-ref': purl, type: 'library', name, version, purl };
    });

const nodeComponent = {
  'bom-ref': `pkg:generic/node@${NODE}`,
  type: 'platform',
  name: 'node',
  version: NODE,
  cpe: `cpe:2.3:a:nodejs:node.js:${NODE}:*:*:*:*:*:*:*`,
  purl: `pkg:generic/node@${NODE}`,
  licenses: [{ license: { id: 'MIT' } }],
};

const { packages } = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8'));
const builds = await Promise.all(
  [programOptions, pageOptions].map((options) =>
    build({ ...options, outdir: 'dist', write: false, metafile: true }),
  ),
);
const bundled = new Set(
  [...bundledFolders(...builds.map(({ metafile }) => metafile))].map(
    (folder) => `${folder.slice(folder.lastIndexOf('node_modules/') + 13)}@${packages[folder].version}`,
  ),
);
const sbom = npmSbom();
const { component } = sbom.metadata;
sbom.metadata.component = {
  ...component,
  type: 'application',
  // npm writes the name of the folder.
  name: packages[''].name,
  properties: [],
};
const found = sbom.components.filter((one) => bundled.has(one['bom-ref']));
if (found.length !== bundled.size) throw new Error(`npm knows ${found.length} of ${bundled.size} packages`);
// npm marks what package.json lists for development as optional. All of these packages are in the build.
const npm = found.map(({ scope: _scope, properties: _properties, ...one }) => one);
const others = [nodeComponent, ...debianComponents()];
sbom.components = [...npm, ...others];
sbom.dependencies = sbom.dependencies
  .filter(({ ref }) => ref === component['bom-ref'] || bundled.has(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((one) => bundled.has(one)) }));
sbom.dependencies.push(...others.map((one) => ({ ref: one['bom-ref'], dependsOn: [] })));
process.stdout.write(`${JSON.stringify(sbom, null, 1)}\n`);
