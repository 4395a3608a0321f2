import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wantsColor } from '../../../src/cli/color.ts';
import { report } from '../../../src/cli/doctor/report.ts';
import { diagnose } from '../../../src/cli/doctor.ts';
import { styled } from '../../../src/cli/output.ts';
import { goodHost } from './good-host.ts';

test('the report has no escape sequences without color, and is folded if the width is known', async (t) => {
  const { diagnosis } = await diagnose({ ...(await goodHost(t)).options, bpftrace: 'no-such-program' });
  const plain = styled(report(diagnosis, { color: false, columns: undefined }));
  assert.ok(!plain.includes('\x1b'));
  assert.match(
    plain,
    /^missing {2}bpftrace +there is no executable no-such-program\n +fix: `apt-get update && apt-get/m,
  );
  assert.match(plain, /^This host \(kernel 7\.3\.4\) cannot be traced: 1 missing, 1 warning\.$/m);
  const colored = styled(report(diagnosis, { color: true, columns: 80 }));
  assert.ok(colored.includes('\x1b[31mmissing\x1b[0m'));
  for (const line of styled(report(diagnosis, { color: false, columns: 80 })).split('\n')) {
    assert.ok(line.length <= 80, line);
  }
});

test('color is used on terminals only, and NO_COLOR disables it', () => {
  assert.equal(wantsColor({ isTTY: true }, {}), true);
  assert.equal(wantsColor({ isTTY: true }, { NO_COLOR: '' }), true);
  assert.equal(wantsColor({ isTTY: true }, { NO_COLOR: '1' }), false);
  assert.equal(wantsColor({ isTTY: true }, { TERM: 'dumb' }), false);
  assert.equal(wantsColor({} as NodeJS.WriteStream, {}), false);
});
