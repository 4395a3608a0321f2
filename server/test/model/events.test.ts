import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TracerEvent } from '../../src/contract/events.ts';
import type { RecordDeclaration } from '../../src/protocol/declaration.ts';
import { RECORDS } from '../../src/protocol/declared.ts';

/** Fields that the API shows under another name, or as the VM that they name. */
const SHOWN_AS: Readonly<Record<string, readonly string[]>> = {
  t: ['boot_us'],
  ns: ['duration_ns'],
  kvm: ['vm'],
  kvm_pid: ['vm', 'owner_vm'],
  vm_type: ['vm'],
  vm_pid: ['vm'],
  owner_vm_pid: ['owner_vm'],
};

test('the API has each event with all its fields', () => {
  const schemas = TracerEvent.anyOf.map(({ properties }) => properties);
  for (const { name, event, fields } of RECORDS as readonly RecordDeclaration[]) {
    if (!event) continue;
    const schema = schemas.find(({ kind }) => kind.const === name);
    assert.ok(schema !== undefined, name);
    const notShown = Object.keys(fields ?? {}).filter(
      (field) => !(SHOWN_AS[field] ?? [field]).some((shown) => shown in schema),
    );
    assert.deepEqual(notShown, [], name);
  }
});
