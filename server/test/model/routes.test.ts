import assert from 'node:assert/strict';
import { test } from 'node:test';
import { feed } from '../fixtures/feed.ts';
import { exported, HEADER, imported, ready, starting, unmapped } from '../fixtures/stream-lines.ts';

const T = 3_000_000;

function after(...lines: string[]) {
  return feed([HEADER, starting(1_000_000, 1), ready(2_000_000), ...lines]);
}

test('an event and the attachment have the route of a mapping, until the importer unmaps', () => {
  const { model, more } = after(
    exported({ t: T, inode: 9 }),
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
  );
  const route = () => model.buffer(9)?.attachments[0]?.route;
  const ofEvent = (fields: Partial<Parameters<typeof imported>[0]>) => {
    const [event] = more(imported({ t: T + 2, inode: 9, stage: 'map', importer: 'mlx5_core', ...fields }));
    return event?.kind === 'import' ? event.route : undefined;
  };
  assert.equal(route(), null);
  assert.equal(ofEvent({ stage: 'pin' }), null);
  assert.equal(ofEvent({ errno: 22, reason: 'topology' }), null);
  assert.equal(ofEvent({ route: 'host_bridge' }), 'host_bridge');
  assert.equal(route(), 'host_bridge');
  more(unmapped(T + 3, 9, 'mlx5_core'));
  assert.equal(route(), null);
  // Without the probe of the route, the event does not know it.
  assert.equal(ofEvent({ t: T + 4, route: 'unknown' }), 'unknown');
  assert.equal(route(), 'unknown');
});

test('iommufd maps physical ranges, which have no route', () => {
  const { model } = after(
    exported({ t: T, inode: 9 }),
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'iommu' }),
    imported({ t: T + 2, inode: 9, stage: 'iommufd', importer: 'iommu' }),
  );
  const [attachment] = model.buffer(9)?.attachments ?? [];
  assert.deepEqual([attachment?.mapped, attachment?.route], [true, null]);
});
