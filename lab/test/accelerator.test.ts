import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { chooseAccelerator } from '../src/accelerator.ts';

const folder = mkdtempSync(join(tmpdir(), 'accelerator-'));
after(() => rmSync(folder, { recursive: true }));

/** The lab's choice if QEMU behaves like this shell script. */
const decide = (behavior: string, ms = 60_000): ReturnType<typeof chooseAccelerator> => {
  const qemu = join(folder, 'qemu');
  writeFileSync(qemu, `#!/bin/sh\n${behavior}\n`);
  chmodSync(qemu, 0o755);
  return chooseAccelerator({ architecture: 'amd64', vmlinuz: 'vmlinuz', initramfs: 'initramfs', qemu, ms });
};

test('a guest that starts on KVM with nested SVM runs on KVM', async () => {
  const { name, cpu } = await decide("echo 'lab: this machine runs the guest'");
  assert.deepEqual([name, cpu], ['kvm', 'host']);
});

test('a guest that starts on KVM without nested SVM is emulated, because the lab runs VMs in it', async () => {
  const { name, why } = await decide("echo 'lab: this machine has no nested SVM'");
  assert.deepEqual([name, why], ['tcg', 'KVM offers the guest no nested SVM']);
});

test('after a KVM error that leaves the guest stopped, the guest is emulated without waiting', async () => {
  const { name, why } = await decide("echo 'KVM internal error. Suberror: 1' >&2; exec sleep 600");
  assert.deepEqual([name, why], ['tcg', 'KVM cannot boot the guest: KVM internal error. Suberror: 1']);
});

test('if QEMU aborts, the guest is emulated, and the reason has the error of QEMU', async () => {
  const { name, why } = await decide("echo 'error: failed to set MSR 0x480' >&2; kill -ABRT $$");
  assert.deepEqual([name, why], ['tcg', 'KVM cannot boot the guest: error: failed to set MSR 0x480']);
});

test('without /dev/kvm the guest is emulated', async () => {
  const { why } = await decide(
    "echo 'qemu: failed to initialize kvm: No such file or directory' >&2; exit 1",
  );
  assert.match(why, /No such file or directory/);
});

test('a guest that does not start in time is emulated', async () => {
  const { name, why } = await decide('exec sleep 600', 50);
  assert.deepEqual([name, why], ['tcg', 'KVM cannot boot the guest: the guest did not start in time']);
});
