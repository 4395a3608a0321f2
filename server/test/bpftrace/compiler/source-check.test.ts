import { test } from 'node:test';
import { CODE_CONSTANTS } from '../../../src/bpftrace/compiler/constants.ts';
import { parseFragment, parseSnippet } from '../../../src/bpftrace/compiler/fragment.ts';
import type { FragmentSet } from '../../../src/bpftrace/compiler/fragment-set.ts';
import { checkSources } from '../../../src/bpftrace/compiler/source-check.ts';
import { throwsAt } from './throws-at.ts';

const HEADER = '// name: one\n// hooks: kprobe f\n// needs: -\n';

/** One fragment whose body begins on line 4, and snippets whose bodies begin on line 3. */
function sources(body: string, snippets: Record<string, string> = {}): FragmentSet {
  return {
    probes: [parseFragment('probes/one.bt', `${HEADER}${body}`)],
    oneshots: new Map(),
    snippets: new Map(
      Object.entries(snippets).map(([name, text]) => [
        name,
        parseSnippet(`probes/snippets/${name}.bt`, text),
      ]),
    ),
    prelude: { constants: CODE_CONSTANTS, conditions: new Map() },
  };
}

const SUM = '// in: $a, $b\n// out: $sum\n  $rest = $a;\n  $sum = $rest + $b;\n';

test('a snippet reads its inputs, and sets its outputs for its caller', () => {
  const block = 'kprobe:f {\n  $a = 1; $b = 2;\n{{use:sum}}\n  if ($sum > $a) { $sum = $sum - 1; }\n}\n';
  checkSources(sources(block, { sum: SUM }));
  // A snippet may pass its inputs on, and change one of them.
  const twice =
    '// in: $a, $b, $total\n// out: $total\n{{use:sum}}\n  if ($sum > 0) { $total = $total + $sum; }\n';
  checkSources(sources(block, { sum: SUM, twice }));
});

test('an input that the caller does not set is an error', () => {
  const needs = /the snippet "sum" reads \$b, which is not set here/;
  const cases: [body: string, where: string][] = [
    ['kprobe:f {\n  $a = 1;\n{{use:sum}}\n  $b = 2;\n}\n', 'probes/one.bt:6'],
    // A variable ends with its block.
    ['kprobe:f {\n  $a = 1; if ($a > 0) { $b = 2; }\n{{use:sum}}\n}\n', 'probes/one.bt:6'],
    ['kprobe:f { $a = 1; $b = 2; }\nkprobe:g {\n  $a = 1;\n{{use:sum}}\n}\n', 'probes/one.bt:7'],
  ];
  for (const [body, where] of cases) {
    throwsAt(() => checkSources(sources(body, { sum: SUM })), where, needs, /set \$b before \{\{use:sum\}\}/);
  }
});

test('a caller reads only what it has set, and outputs', () => {
  const read = (text: string) => () =>
    checkSources(sources(`kprobe:f {\n  $a = 1; $b = 2;\n{{use:sum}}\n${text}\n}\n`, { sum: SUM }));
  throwsAt(
    read('  $c = $rest;'),
    'probes/one.bt:7',
    /\$rest is not an output of probes\/snippets\/sum\.bt/,
    /`out`/,
  );
  throwsAt(read('  $c = $d;'), 'probes/one.bt:7', /\$d is read, but not set before/, /set \$d in this block/);
  throwsAt(read('  $d = $d + 1;'), 'probes/one.bt:7', /\$d is read, but not set before/, /set \$d/);
  throwsAt(read('  if ($d == 1) { }'), 'probes/one.bt:7', /\$d is read, but not set before/, /set \$d/);
  read('  for ($kv : @m) { $c = $kv.0; } // $d\n  print(("$d", $sum));')();
});

test('the header of a snippet lists what the snippet reads and sets', () => {
  const check = (snippet: string) => () => checkSources(sources('kprobe:f { }\n', { s: snippet }));
  const file = 'probes/snippets/s.bt';
  throwsAt(
    check('// in: $a\n// out: -\n  $b = 1;\n'),
    `${file}:1`,
    /\$a is an input that the snippet does not read/,
    /`in`/,
  );
  throwsAt(
    check('// in: -\n// out: $b\n  $a = 1;\n'),
    `${file}:2`,
    /\$b is an output that the snippet does not set/,
    /`out`/,
  );
  const inner = '// in: $a\n// out: $b\n  if ($a) { $b = 1; }\n';
  throwsAt(
    check(inner),
    `${file}:2`,
    /\$b is an output that the snippet does not set/,
    /outside of inner blocks/,
  );
  throwsAt(check('// in: $b\n// out: $b\n  $c = $b;\n'), `${file}:2`, /\$b is an output that/, /`out`/);
  throwsAt(check('// in: -\n// out: -\n  $c = $b;\n'), `${file}:3`, /\$b is read, but not set/, /set \$b/);
  throwsAt(check('// in: b\n// out: -\n'), `${file}:1`, /"b" is not a variable/, /README/);
  throwsAt(check('// in: -\n  $c = 1;\n'), `${file}:1`, /"out" is missing/, /README/);
});

test('an unknown constant or snippet is an error on each line, also on one that this host drops', () => {
  const check = (line: string) => () => checkSources(sources(`kprobe:f {\n${line}\n}\n`));
  throwsAt(check('  $a = NOTHING; //? none'), 'probes/one.bt:5', /no constant NOTHING/, /constants\.h/);
  throwsAt(
    check('{{use:none}} //? none'),
    'probes/one.bt:5',
    /no snippet "none"/,
    /probes\/snippets\/none\.bt/,
  );
});

test('a line that depends on a map which no source writes is an error, because it would never be kept', () => {
  const check = (line: string) => () => checkSources(sources(`kprobe:f {\n  @seen[1] = 1;\n  ${line}\n}\n`));
  check('if (@seen[1]) { delete(@seen[1]); }')();
  check('$a = 1; //? @seen')();
  throwsAt(check('$a = 1; //? f, @seem'), 'probes/one.bt:6', /writes @seem$/, /did you mean @seen\?/);
  throwsAt(check('if (@seem[1]) { return; }'), 'probes/one.bt:6', /writes @seem$/, /did you mean @seen\?/);
});
