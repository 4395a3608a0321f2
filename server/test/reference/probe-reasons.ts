import assert from 'node:assert/strict';
import type { FragmentSet } from '../../src/bpftrace/compiler/fragment-set.ts';

/** One place where a probe sets a reason or a violation. */
export interface ProbeReason {
  probe: string;
  /** The stage of an import, or the tag of an event without a stage: `export`, `private_read`. */
  stage: string;
  name: string;
  /** Names of the errnos that the innermost enclosing condition accepts; empty if no condition tests the errno. */
  errnos: string[];
}

interface Block {
  stages: Set<string>;
  tags: Set<string>;
  found: Pick<ProbeReason, 'name' | 'errnos'>[];
}

const TOKEN =
  /\bif \(|\$reason = (?:\(int64\))?REASON_(\w+)|\b(STAGE|TAG|VIOLATION)_(\w+)|\{\{[^{}]*\}\}|[{}]/g;
const ERRNO = /\$errno == (E[A-Z]+)/g;
const ERRNOS = new RegExp(`${ERRNO.source}(?: \\|\\| ${ERRNO.source})*`, 'g');

/**
 * Reads the reasons and violations that the probes can set from their sources.
 * Snippets are inserted, and every conditional line is kept.
 */
export function reasonsOfProbes({ probes, snippets }: FragmentSet): ProbeReason[] {
  const expand = (text: string): string =>
    text.replace(/\{\{use:([\w-]+)\}\}/g, (_, name: string) => {
      const snippet = snippets.get(name);
      assert.ok(snippet !== undefined, `there is no snippet ${name}`);
      return expand(snippet.text);
    });
  return probes.flatMap(({ name, text }) => reasonsIn(name, expand(text).replace(/\/\/.*$/gm, '')));
}

function reasonsIn(probe: string, text: string): ProbeReason[] {
  const reasons: ProbeReason[] = [];
  const conditions: string[] = [];
  let block = newBlock();
  let condition = '';
  let assigned = 0;
  TOKEN.lastIndex = 0;
  for (let token = TOKEN.exec(text); token !== null; token = TOKEN.exec(text)) {
    const [what, reason, kind, constant = ''] = token;
    const name = constant.toLowerCase();
    if (what === 'if (') {
      const end = closing(text, TOKEN.lastIndex);
      condition = text.slice(TOKEN.lastIndex, end - 1);
      TOKEN.lastIndex = end;
    } else if (what === '{') {
      if (conditions.length === 0) block = newBlock();
      conditions.push(condition);
      condition = '';
    } else if (what === '}') {
      assert.notEqual(conditions.pop(), undefined, `${probe}: unmatched }`);
      if (conditions.length === 0) reasons.push(...reasonsOfBlock(probe, block));
    } else if (reason !== undefined) {
      assigned += 1;
      if (reason !== 'NONE') {
        block.found.push({ name: reason.toLowerCase(), errnos: errnosOf(probe, conditions) });
      }
    } else if (kind === 'STAGE') block.stages.add(name);
    else if (kind === 'TAG') block.tags.add(name);
    else if (kind === 'VIOLATION' && name !== 'none') block.found.push({ name, errnos: [] });
  }
  assert.deepEqual(conditions, [], `${probe}: missing }`);
  const named = text.match(/\bREASON_/g)?.length ?? 0;
  assert.equal(assigned, named, `${probe} has a reason that is not assigned with "$reason = "`);
  return reasons;
}

function newBlock(): Block {
  return { stages: new Set(), tags: new Set(), found: [] };
}

function reasonsOfBlock(probe: string, { stages, tags, found }: Block): ProbeReason[] {
  if (found.length === 0) return [];
  assert.notEqual(tags.size, 0, `${probe} sets a reason but prints no event`);
  const [stage = '', ...others] = stages.size > 0 ? stages : tags;
  assert.deepEqual(others, [], `${probe} sets a reason at more than one stage`);
  return found.map((one) => ({ probe, stage, ...one }));
}

/** The index after the parenthesis that closes the one opened before `from`. */
function closing(text: string, from: number): number {
  let open = 1;
  let at = from;
  for (; open > 0 && at < text.length; at++) {
    if (text[at] === '(') open += 1;
    if (text[at] === ')') open -= 1;
  }
  return at;
}

function errnosOf(probe: string, conditions: readonly string[]): string[] {
  const inner = conditions.findLast((condition) => condition.match(ERRNO) !== null) ?? '';
  assert.ok(!inner.replace(ERRNOS, '').includes('||'), `${probe}: "${inner}" does not restrict the errno`);
  return [...inner.matchAll(ERRNO)].map(([, errno = '']) => errno);
}
