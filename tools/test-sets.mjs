// Assigns test files to sets by their folder, and finds the files that a module uses, by reading its text.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { repository } from './setup.mjs';

/** Folders with tests. */
export const TEST_FOLDERS = ['server/test', 'lab/test', 'tools/test', 'dashboards/test'];

/**
 * Folders whose tests need a Debian package (they install it with apt-get as root) or a long time. All other folders
 * are pure.
 */
const FOLDERS = {
  'server/test/browser': 'browser',
  'server/test/load': 'load',
  'server/test/privileges': 'privileges',
  'server/test/terminal': 'terminal',
  'dashboards/test/prometheus': 'prometheus',
};

/** The sets, and what each needs in addition to Node and the packages of package-lock.json. */
export const SETS = {
  pure: 'nothing',
  load: 'about a minute of CPU',
  privileges: 'strace and root',
  terminal: 'tmux',
  prometheus: 'Prometheus, Alertmanager and jsonnet',
  browser: 'Chromium',
};

/** The set of a test file; the path is relative to the repository. */
export const setOf = (file) =>
  Object.entries(FOLDERS).find(([folder]) => file.startsWith(`${folder}/`))?.[1] ?? 'pure';

/** Every *.test.ts below a folder, relative to the repository. */
export const testsBelow = (folder) =>
  readdirSync(join(repository, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => relative(repository, join(entry.parentPath, entry.name)));

export const allTests = () => TEST_FOLDERS.flatMap(testsBelow).sort();

const STRING = /(['"`])((?:\.{0,2}\/|[\w@-]+\/)[^'"`$\n]*)\1/g;
const MODULE = /\.(ts|tsx|mjs|json|css)$/;

/**
 * The files that a module names in a string, relative to itself or to the repository. The string need not be an import,
 * so this also finds programs that a test starts, such as tools/build.mjs, and the files that these build.
 */
const namedIn = (file) => {
  const found = new Set();
  for (const [, , name] of readFileSync(join(repository, file), 'utf8').matchAll(STRING)) {
    const path = name.startsWith('.') ? normalize(join(dirname(file), name)) : normalize(name);
    if (!MODULE.test(path) || path.startsWith('..') || path.startsWith('/')) continue;
    if (existsSync(join(repository, path)) && statSync(join(repository, path)).isFile()) found.add(path);
  }
  return found;
};

/**
 * Returns a function that lists the files that a file uses, itself included. It caches what it reads: make a new one
 * after a change.
 */
export const createReach = () => {
  const named = new Map();
  return (start) => {
    const reached = new Set([start]);
    for (const file of reached) {
      if (!named.has(file)) named.set(file, namedIn(file));
      for (const next of named.get(file)) reached.add(next);
    }
    return reached;
  };
};
