import type { CollectorLine, Snapshot, SnapshotPart } from './wire.ts';

/** The most bytes of JSON in one line of a snapshot, well below the longest line that a reader accepts. */
const PART_BYTES = 256 * 1024;

/** The most parts that a reader keeps until their snapshot is complete: 16 MiB, about 128,000 buffers. */
export const PARTS_LIMIT = 64;

/** Splits a snapshot into lines: parts for what does not fit into one line, then the snapshot with the rest. */
export function snapshotLines(snapshot: Snapshot): CollectorLine[] {
  const { t_begin, buffers, device_holders = [] } = snapshot;
  const parts: SnapshotPart[] = [];
  const empty = (): SnapshotPart => ({ t_begin, buffers: [], device_holders: [] });
  let part = empty();
  let held = 0;
  const add = <T>(into: (part: SnapshotPart) => T[], item: T): void => {
    const bytes = JSON.stringify(item).length;
    if (held > 0 && held + bytes > PART_BYTES) {
      parts.push(part);
      part = empty();
      held = 0;
    }
    into(part).push(item);
    held += bytes;
  };
  for (const buffer of buffers) add((into) => into.buffers, buffer);
  for (const holder of device_holders) add((into) => into.device_holders, holder);
  const last = {
    ...snapshot,
    ...(parts.length === 0 ? {} : { parts: parts.length }),
    buffers: part.buffers,
    ...(snapshot.device_holders === undefined ? {} : { device_holders: part.device_holders }),
  };
  return [
    ...parts.map((data): CollectorLine => ({ type: 'snapshot_part', data })),
    { type: 'snapshot', data: last },
  ];
}

/** Joins the lines of a snapshot. If a part is missing, the snapshot is marked incomplete. */
export class SnapshotParts {
  #parts: SnapshotPart[] = [];

  add(part: SnapshotPart): void {
    if (this.#parts[0]?.t_begin !== part.t_begin) this.#parts = [];
    if (this.#parts.length < PARTS_LIMIT) this.#parts.push(part);
  }

  /** Returns the joined snapshot, given its last line. */
  join(last: Snapshot): Snapshot {
    const { parts: expected = 0, ...snapshot } = last;
    const parts = this.#parts.filter(({ t_begin }) => t_begin === last.t_begin);
    this.#parts = [];
    if (expected === 0) return snapshot;
    const missing = expected - parts.length;
    return {
      ...snapshot,
      ...(missing === 0
        ? {}
        : {
            complete: false,
            errors: [...snapshot.errors, `${missing} of ${expected} parts of the snapshot are missing`],
          }),
      buffers: [...parts.flatMap(({ buffers }) => buffers), ...snapshot.buffers],
      ...(snapshot.device_holders === undefined
        ? {}
        : {
            device_holders: [
              ...parts.flatMap(({ device_holders }) => device_holders),
              ...snapshot.device_holders,
            ],
          }),
    };
  }
}
