import assert from 'node:assert/strict';
import { constants as system } from 'node:os';
import { test } from 'node:test';
import {
  CODE_CONSTANTS,
  parseConstants,
  replaceConstants,
} from '../../../src/bpftrace/compiler/constants.ts';
import { loadFragments } from '../../../src/bpftrace/compiler/fragment.ts';
import { withPageSize } from '../../../src/bpftrace/compiler/prelude.ts';
import { probesDirectory } from '../../../src/lib/probes-directory.ts';
import { throwsAt } from './throws-at.ts';

test('a constant is a number, or the first 8 bytes of a name', () => {
  const constants = parseConstants(
    '// Why.\n#define ONE 1\n\n#define HEX 0xff0\n#define KVM "kvm"\n#define LONG "vfio_pci_core"',
  );
  assert.deepEqual(
    [...constants].filter(([name]) => !CODE_CONSTANTS.has(name)),
    [
      ['ONE', '1'],
      ['HEX', '0xff0'],
      ['KVM', '0x6d766b'],
      ['LONG', '0x6963705f6f696676'],
    ],
  );
});

test('a wrong definition is an error with file, line and fix', () => {
  const parse = (line: string) => () => parseConstants(`// ok\n${line}`, 'c.h');
  throwsAt(parse('#define lower 1'), 'c.h:2', /does not define a constant/, /write #define/);
  throwsAt(parse('#define NO_VALUE'), 'c.h:2', /does not define a constant/, /write #define/);
  throwsAt(parse('#define SUM 1 + 2'), 'c.h:2', /does not define a constant/, /write #define/);
  throwsAt(parse('#define REASON_NONE 7'), 'c.h:2', /REASON_NONE is defined twice/, /keep one/);
  throwsAt(parse('#define PAGE_SIZE 4096'), 'c.h:2', /PAGE_SIZE is defined twice/, /keep one/);
});

test('only words of the code are constants: no strings, comments, placeholders, variables, maps, members', () => {
  const constants = new Map([['ONE', '1']]);
  const kept = '"ONE" {{offset:ONE.TWO}} $ONE @ONE $p->ONE $s.ONE ONE_more X BEGIN END 0xABC // TWO';
  assert.equal(replaceConstants(`ONE + -ONE (ONE) ${kept}`, constants, 'x'), `1 + -1 (1) ${kept}`);
});

test('an unknown constant is an error that proposes the nearest one', () => {
  const replace = (line: string) => () => replaceConstants(line, CODE_CONSTANTS, 'probes/x.bt:3');
  throwsAt(
    replace('$reason = REASON_REVOKE;'),
    'probes/x.bt:3',
    /no constant REASON_REVOKE$/,
    /mean REASON_REVOKED\?/,
  );
  throwsAt(
    replace('EDOM'),
    'probes/x.bt:3',
    /no constant EDOM/,
    /define it in probes\/prelude\/constants\.h/,
  );
});

test('the page size is that of the host', () => {
  assert.equal(
    replaceConstants(
      'PAGE_SIZE',
      withPageSize({ constants: new Map(), conditions: new Map() }, 65_536).constants,
      'x',
    ),
    '65536',
  );
});

test('the errnos of the fragments are those of Linux', async () => {
  const { prelude } = await loadFragments(probesDirectory());
  const errnos = [...prelude.constants].filter(([name]) => /^E[A-Z]+$/.test(name) && name !== 'ERESTARTSYS');
  assert.ok(errnos.length > 10);
  for (const [name, value] of errnos) {
    assert.equal(Number(value), (system.errno as Record<string, number>)[name], name);
  }
});

test('the fragments name what they mean: no bare errnos, and no numbers in hexadecimal', async () => {
  const { probes, oneshots, snippets } = await loadFragments(probesDirectory());
  for (const { file, text } of [...probes, ...oneshots.values(), ...snippets.values()]) {
    assert.doesNotMatch(text, /\$errno [=!]= [1-9]|\b0x[0-9a-f]|[<>=] -?\d{4,}/, file);
  }
});

test('each constant and condition of the prelude is used', async () => {
  const { probes, oneshots, snippets, prelude } = await loadFragments(probesDirectory());
  const sources = [...probes, ...oneshots.values(), ...snippets.values()].map(({ text }) => text).join('\n');
  const isUsed = (name: string): boolean => new RegExp(`(?<!\\w)${name}(?![\\w-])`).test(sources);
  const defined = [...prelude.constants.keys()].filter((name) => !CODE_CONSTANTS.has(name));
  assert.deepEqual(
    defined.filter((name) => !isUsed(name)),
    [],
  );
  const named = [...prelude.conditions.keys()];
  assert.deepEqual(
    named.filter((name) => !isUsed(`has:${name}`)),
    [],
  );
});
