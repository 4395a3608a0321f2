import { readFileSync } from 'node:fs';
import { type Document, isAlias, isMap, isScalar, LineCounter, type ParsedNode, parseDocument } from 'yaml';
import { TracerError } from '../lib/errors.ts';
import type { Problem } from '../lib/problems.ts';
import { didYouMean } from '../lib/suggest.ts';
import { CONFIG_KEYS, isConfigKey } from './schema.ts';
import type { Setting } from './values.ts';

export interface FileSettings {
  settings: Setting[];
  problems: Problem[];
}

export function readConfigFile(path: string): FileSettings {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new TracerError(
      'file_unreadable',
      `user ${process.geteuid?.()} cannot read the config file (${code})`,
      {
        where: path,
        remedy: 'set --config.file to an existing file that this user may read',
        cause: error,
      },
    );
  }
  return parseConfig(text, path);
}

/** Parses YAML into settings, each with its line and column. Nested maps and dotted keys are equivalent. */
export function parseConfig(text: string, path: string): FileSettings {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) => ({
      what: `this is not valid YAML: ${error.message.split(' at line ')[0]?.trim()}`,
      where: at(error.pos[0]),
      remedy: 'correct the syntax, e.g. `web: {telemetry-path: /metrics}`; --help lists the keys',
    }));
    return { settings: [], problems };
  }
  const found: FileSettings = { settings: [], problems: [] };
  const root = document.contents as ParsedNode | null;
  if (root === null || (isScalar(root) && root.value === null)) return found;
  if (!isMap(root)) {
    found.problems.push({
      what: 'the config file is not a map of keys and values',
      where: at(root.range[0]),
      remedy: 'write `key: value` lines; --help lists the keys',
    });
    return found;
  }
  walk(root as ParsedNode, '', found, at, document);
  return found;
}

function walk(
  node: ParsedNode,
  prefix: string,
  found: FileSettings,
  at: (offset: number) => string,
  document: Document.Parsed,
): void {
  if (!isMap(node)) return;
  for (const pair of node.items) {
    const keyNode = pair.key as ParsedNode;
    const written = pair.value as ParsedNode | null;
    const value = (isAlias(written) ? (written.resolve(document) ?? null) : written) as ParsedNode | null;
    const key = `${prefix}${isScalar(keyNode) ? String(keyNode.value) : keyNode.toString()}`;
    const where = at(keyNode.range[0]);
    if (isConfigKey(key)) {
      const raw: unknown = value === null ? null : value.toJS(document);
      if (found.settings.some((setting) => setting.key === key)) {
        found.problems.push({ what: `${key} is given twice`, where, remedy: 'keep one of them' });
      }
      found.settings.push({ key, raw, where: written === null ? where : at(written.range[0]) });
    } else if (isSection(key)) {
      // A section whose keys are all commented out has the value null, which is valid.
      if (isMap(value)) walk(value as ParsedNode, `${key}.`, found, at, document);
      else if (value !== null && !(isScalar(value) && value.value === null)) {
        const [example = ''] = CONFIG_KEYS.filter((known) => known.startsWith(`${key}.`));
        found.problems.push({
          what: `${key} is a section: its value must be a map of keys`,
          where,
          remedy: `write its keys below it, e.g. \`${key}: {${example.slice(key.length + 1)}: …}\`, or leave it out`,
        });
      }
    } else {
      found.problems.push({
        what: `${key} is not a key of the config`,
        where,
        remedy: didYouMean(key, CONFIG_KEYS),
      });
    }
  }
}

/** Whether the key is the first part of a setting, such as `web` of `web.listen-address`. */
function isSection(key: string): boolean {
  return CONFIG_KEYS.some((known) => known.startsWith(`${key}.`));
}
