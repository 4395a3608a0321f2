import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Program } from './program.ts';

const program = new Program();
before(() => program.build());
after(() => program.remove());

test('reasons lists all reasons, explains named ones, and prints them as JSON', () => {
  const list = program.run(['reasons']);
  assert.equal(list.code, 0);
  assert.match(list.stdout, /^no_peer_to_peer +reason +The importer cannot use memory/m);
  assert.match(list.stdout, /^foreign_vm +violation /m);
  const { stdout } = program.run(['reasons', 'no_ranges', 'flr']);
  assert.match(
    stdout,
    /^no_ranges \(reason\)\n.*\n {2}at export, EINVAL: vfio_pci_core_feature_dma_buf\n {4}requires: .*\n {4}in: .*mainline 6\.19 or newer\)/,
  );
  assert.match(stdout, /^flr \(cause\)\n.*\n {2}at revoke: vfio_exp_config_write\n {4}when: a write sets/m);
  const [json] = JSON.parse(program.run(['reasons', '--json', 'no_ranges']).stdout);
  assert.deepEqual(
    [json.name, json.stages, json.docs],
    ['no_ranges', ['export'], 'docs/reasons.md#no_ranges'],
  );
});

test('an unknown reason is reported with the nearest one, and the exit code is 2', () => {
  const { code, stdout, stderr } = program.run(['reasons', 'no_range', 'topology']);
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(stderr, /there is no reason "no_range", .*\n.*\n.*did you mean no_ranges\?/);
});

test('reasons finds the explanation of a log line, quoted or not, and of a setting', () => {
  const line = ['qemu-system-x86_64:', 'IOMMU_IOAS_MAP', 'failed:', 'Bad', 'address,', 'PCI', 'BAR?'];
  for (const args of [line, [line.join(' ')]]) {
    const { code, stdout } = program.run(['reasons', ...args]);
    assert.equal(code, 0);
    assert.match(stdout, /^bar_by_address \(reason\)$/m);
    assert.match(stdout, /^ {2}user space shows: IOMMU_IOAS_MAP failed: Bad address, PCI BAR\?$/m);
  }
  assert.match(program.run(['reasons', 'NCCL_IB_DATA_DIRECT']).stdout, /^not_revocable \(reason\)$/m);
  const names = (
    JSON.parse(program.run(['reasons', '--json', 'ibv_reg_dmabuf_mr']).stdout) as { name: string }[]
  ).map(({ name }) => name);
  assert.ok(names.includes('not_revocable') && names.includes('pin_rejected'), names.join(' '));
});

test('reasons points to the runbook of an alert, and to the errno of a text that it does not explain', () => {
  assert.match(
    program.run(['reasons', 'VfioDmabufLostMappings']).stdout,
    /^mappings_lost \(incident\)\n[\s\S]*^ {2}runbook: docs\/runbooks\/VfioDmabufLostMappings\.md$/m,
  );
  const { code, stderr } = program.run(['reasons', 'VfioDmabufMapFull']);
  assert.equal(code, 2);
  assert.match(stderr, /VfioDmabufMapFull is an alert\n.*\n {2}fix: read its runbook: docs\/runbooks\/Vfio/);
  const line = program.run(['reasons', 'IOMMU_IOAS_MAP failed: Invalid argument, PCI BAR?']);
  assert.match(line.stderr, /no entry explains this text\n.*\n {2}fix: `vfio-dmabuf-tracer reasons EINVAL`/);
});
