import assert from 'node:assert/strict';
import { Check } from 'typebox/value';
import { Incident } from '../../src/contract/incidents.ts';
import { feed } from '../fixtures/feed.ts';
import {
  ALL_PROBES,
  exported,
  HEADER,
  imported,
  ready,
  type StartingOptions,
  starting,
} from '../fixtures/stream-lines.ts';

/** One second of stream time. */
export const S = 1_000_000;
/** A time at which bpftrace is ready: the first lines of a test are at `T` or shortly after. */
export const T = 3 * S;

/** A host without private exports. */
export const MAINLINE: StartingOptions = {
  dialect: 'mainline',
  attached: ALL_PROBES.filter((probe) => !['bind', 'unbind', 'private_read', 'fault', 'zap'].includes(probe)),
};

/** The lines before those of a test. */
export function begin(options: StartingOptions = {}): string[] {
  return [HEADER, starting(S, 1, options), ready(2 * S)];
}

/** A model after these lines. `incidents` and `first` check each incident against its schema. */
export function watch(lines: readonly string[], options: StartingOptions = {}) {
  const fed = feed([...begin(options), ...lines]);
  function incidents(): Incident[] {
    const all = fed.model.incidents.all();
    for (const incident of all) assert.ok(Check(Incident, incident), JSON.stringify(incident));
    return all;
  }
  /** The first incident, which must exist. */
  function first(): Incident {
    const [incident] = incidents();
    assert.ok(incident, 'no incident');
    return incident;
  }
  return { ...fed, incidents, first };
}

/** The time of the API at these microseconds of the stream. */
export function at(micros: number): string {
  return new Date(1_700_000_000_000 + micros / 1000).toISOString();
}

/** Buffer 9, exported where exports have no privacy, attached and mapped by an importer. */
export const HELD_BY_MLX5 = [
  exported({ t: T, inode: 9, privacy: 'undeclared' }),
  imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
  imported({ t: T + 2, inode: 9, stage: 'map', importer: 'mlx5_core' }),
];
export const HELD_BY_IOMMUFD = [
  exported({ t: T, inode: 9, privacy: 'undeclared' }),
  imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'iommu' }),
  imported({ t: T + 2, inode: 9, stage: 'iommufd', importer: 'iommu' }),
];

/** Buffer 9 of a confidential VM, whose process is 200: only KVM may import it. */
export const PRIVATE = exported({ t: T, inode: 9, privacy: 'private', kvm_pid: 200, vm_type: 'snp' });

/** An attach of buffer 9 by an importer other than KVM. */
export function offer(t: number, result: 'accepted' | 'rejected'): string {
  const outcome = result === 'accepted' ? {} : { errno: 95, reason: 'no_peer_to_peer' as const };
  return imported({ t, inode: 9, stage: 'attach', importer: 'mlx5_core', ...outcome });
}
