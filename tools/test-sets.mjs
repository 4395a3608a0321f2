// Which test file is in which set, by the folder it lies in; and what a module reaches, read from its text.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { repository } from './setup.mjs';

/** Folders with tests. */
export const TEST_FOLDERS = ['server/test', 'lab/test', 'tools/test', 'dashboards/test'];

/** Folders whose tests need a program of Debian, which they install with apt-get as root, or a long time. All others are pure. */
const FOLDERS = {
  'server/test/browser': 'browser',
  'server/test/load': 'load',
  'server/test/terminal': 'terminal',
  'dashboards/test/prometheus': 'prometheus',
};

/** The sets, and what each needs besides Node and the packages of package-lock.json. */
export const SETS = {
  pure: 'nothing',
  load: 'about a minute of CPU',
  terminal: 'tmux',
  prometheus: 'Prometheus, Alertmanager and jsonnet',
  browser: 'Chromium',
};

/** The set of a test file, whose path is relative to the repository. */
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
 * The files that a module names in a string, as an import or in another way: relative to itself, or to the repository. So a
 * test reaches also what it runs in a process of its own, such as tools/build.mjs, and what that builds.
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

/** Gives the files that a file reaches, itself among them. It reads every file once: make a new one after a change. */
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
