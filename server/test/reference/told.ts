import assert from 'node:assert/strict';
import type { FragmentSet } from '../../src/collector/bpftrace/fragment.ts';

/** One place where a probe gives a reason, or tells a violation. */
export interface Told {
  probe: string;
  /** The stage of an import, or what is told where that has none: `export`, `private_read`. */
  stage: string;
  name: string;
  /** The errnos that the innermost condition around it lets through; none where no condition looks at the errno. */
  errnos: number[];
}

interface Block {
  stages: Set<string>;
  tags: Set<string>;
  found: Pick<Told, 'name' | 'errnos'>[];
}

const TOKEN =
  /\bif \(|\$reason = (?:\(int64\))?\{\{reason\.(\w+)\}\}|\{\{(stage|tag|violation)\.(\w+)\}\}|\{\{[^{}]*\}\}|[{}]/g;
const ERRNO = /\$errno == (\d+)/g;
const ERRNOS = new RegExp(`${ERRNO.source}(?: \\|\\| ${ERRNO.source})*`, 'g');

/** Reads from the sources of the probes, with their snippets put in and every conditional line kept, what they can tell. */
export function toldBy({ probes, snippets }: FragmentSet): Told[] {
  const whole = (text: string): string =>
    text.replace(/\{\{use:([\w-]+)\}\}/g, (_, name: string) => {
      const snippet = snippets.get(name);
      assert.ok(snippet !== undefined, `there is no snippet ${name}`);
      return whole(snippet.text);
    });
  return probes.flatMap(({ name, text }) => toldIn(name, whole(text).replace(/\/\/.*$/gm, '')));
}

function toldIn(probe: string, text: string): Told[] {
  const told: Told[] = [];
  const conditions: string[] = [];
  let block = newBlock();
  let condition = '';
  let given = 0;
  TOKEN.lastIndex = 0;
  for (let token = TOKEN.exec(text); token !== null; token = TOKEN.exec(text)) {
    const [what, reason, kind, name = ''] = token;
    if (what === 'if (') {
      const end = closing(text, TOKEN.lastIndex);
      condition = text.slice(TOKEN.lastIndex, end - 1);
      TOKEN.lastIndex = end;
    } else if (what === '{') {
      if (conditions.length === 0) block = newBlock();
      conditions.push(condition);
      condition = '';
    } else if (what === '}') {
      assert.notEqual(conditions.pop(), undefined, `${probe}: a } too many`);
      if (conditions.length === 0) told.push(...endOf(probe, block));
    } else if (reason !== undefined) {
      given += 1;
      if (reason !== 'none') block.found.push({ name: reason, errnos: errnosOf(probe, conditions) });
    } else if (kind === 'stage') block.stages.add(name);
    else if (kind === 'tag') block.tags.add(name);
    else if (kind === 'violation' && name !== 'none') block.found.push({ name, errnos: [] });
  }
  assert.deepEqual(conditions, [], `${probe}: a } is missing`);
  const named = text.match(/\{\{reason\./g)?.length ?? 0;
  assert.equal(given, named, `${probe} names a reason in another way than by "$reason = "`);
  return told;
}

const newBlock = (): Block => ({ stages: new Set(), tags: new Set(), found: [] });

function endOf(probe: string, { stages, tags, found }: Block): Told[] {
  if (found.length === 0) return [];
  assert.notEqual(tags.size, 0, `${probe} gives a reason and prints nothing`);
  const [stage = '', ...others] = stages.size > 0 ? stages : tags;
  assert.deepEqual(others, [], `${probe} gives a reason at more than one stage`);
  return found.map((one) => ({ probe, stage, ...one }));
}

/** Where the bracket that was opened before `from` is closed. */
function closing(text: string, from: number): number {
  let open = 1;
  let at = from;
  for (; open > 0 && at < text.length; at++) {
    if (text[at] === '(') open += 1;
    if (text[at] === ')') open -= 1;
  }
  return at;
}

function errnosOf(probe: string, conditions: readonly string[]): number[] {
  const inner = conditions.findLast((condition) => condition.match(ERRNO) !== null) ?? '';
  assert.ok(!inner.replace(ERRNOS, '').includes('||'), `${probe}: "${inner}" fixes no errno`);
  return [...inner.matchAll(ERRNO)].map(([, errno]) => Number(errno));
}
