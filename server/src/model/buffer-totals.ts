import type { Privacy } from '../protocol/codes.ts';
import type { Importers, LabelsOfBuffer } from './importers.ts';
import type { IntervalSet } from './interval-set.ts';

/** Attachments of one importer to the buffers of one device with one privacy. */
export interface AttachmentGroup extends LabelsOfBuffer {
  readonly importer: string;
  count: number;
}

/** Live or revoked buffers of one device with one privacy. */
export interface BufferGroup extends LabelsOfBuffer {
  readonly revoked: boolean;
  buffers: number;
  /** A bigint, so that sums stay exact after any number of changes. */
  bytes: bigint;
}

interface DeviceTotals {
  buffers: number;
  lostMappings: number;
}

/** What a buffer contributes to the totals. */
export interface Counted {
  group: BufferGroup;
  bytes: number;
  lostMappings: number;
  /** Attachments whose importer is unknown. */
  unnamed: number;
}

/** What the totals need from the state of a buffer. */
export interface CountedBuffer {
  device: number;
  privacy: Privacy;
  revoked: boolean;
  bytes: number;
  lostMappings: number;
  importers: Importers;
  attachments: IntervalSet;
  /** What it contributes to the totals; null if it is not in them. */
  counted: Counted | null;
}

/** The importer name of attachments that only a snapshot has counted. */
const UNKNOWN_IMPORTER = 'unknown';

/**
 * Totals over the live and revoked buffers. Each change of a buffer updates them, so that neither scrapes nor events
 * iterate over all buffers.
 */
export class BufferTotals {
  /** Number of live buffers, and of revoked buffers. */
  live = 0;
  revoked = 0;
  readonly #groups = new Map<string, BufferGroup>();
  readonly #devices = new Map<number, DeviceTotals>();
  readonly #attachments = new Map<string, AttachmentGroup>();

  /** By device, privacy and state. */
  groups(): IterableIterator<Readonly<BufferGroup>> {
    return this.#groups.values();
  }

  /** Lost mappings of iommufd by packed device; 0 for a device without lost mappings. */
  *lostMappings(): Generator<[device: number, count: number]> {
    for (const [device, { lostMappings }] of this.#devices) yield [device, lostMappings];
  }

  /** Attachments by device, privacy and importer. The importer is `unknown` if only a snapshot has counted them. */
  attachments(): IterableIterator<Readonly<AttachmentGroup>> {
    return this.#attachments.values();
  }

  /** Whether the device (packed address) has a live or revoked buffer. */
  hasBuffers(device: number): boolean {
    return this.#devices.has(device);
  }

  /** Updates the totals after a change of a live or revoked buffer, or adds a new buffer. */
  update(buffer: CountedBuffer): void {
    const counted = buffer.counted ?? this.#add(buffer);
    let { group } = counted;
    const isRelabelled = group.device !== buffer.device || group.privacy !== buffer.privacy;
    if (isRelabelled || group.revoked !== buffer.revoked) {
      this.#leave(counted);
      group = this.#join(buffer);
      if (isRelabelled) this.#relabel(buffer, counted, group);
      counted.group = group;
      group.bytes += BigInt(counted.bytes);
      this.#addLost(group.device, counted.lostMappings);
    }
    if (counted.bytes !== buffer.bytes) {
      group.bytes += BigInt(buffer.bytes) - BigInt(counted.bytes);
      counted.bytes = buffer.bytes;
    }
    if (counted.lostMappings !== buffer.lostMappings) {
      this.#addLost(group.device, buffer.lostMappings - counted.lostMappings);
      counted.lostMappings = buffer.lostMappings;
    }
    const unnamed = Math.max(0, buffer.attachments.count - buffer.importers.named);
    if (counted.unnamed !== unnamed) {
      this.addAttachments(group, UNKNOWN_IMPORTER, unnamed - counted.unnamed);
      counted.unnamed = unnamed;
    }
  }

  /** Removes a released buffer. */
  remove(buffer: CountedBuffer): void {
    const { counted } = buffer;
    if (counted === null) return;
    buffer.counted = null;
    this.#leave(counted);
    this.addAttachments(counted.group, UNKNOWN_IMPORTER, -counted.unnamed);
  }

  addAttachments({ device, privacy }: LabelsOfBuffer, importer: string, growth: number): void {
    if (growth === 0) return;
    const key = `${device}\n${privacy}\n${importer}`;
    const known = this.#attachments.get(key);
    if (known === undefined) this.#attachments.set(key, { device, privacy, importer, count: growth });
    else known.count += growth;
    if (known?.count === 0) this.#attachments.delete(key);
  }

  #relabel({ importers }: CountedBuffer, { group: before, unnamed }: Counted, group: BufferGroup): void {
    this.addAttachments(before, UNKNOWN_IMPORTER, -unnamed);
    this.addAttachments(group, UNKNOWN_IMPORTER, unnamed);
    importers.relabel(group);
  }

  #add(buffer: CountedBuffer): Counted {
    const counted = { group: this.#join(buffer), bytes: 0, lostMappings: 0, unnamed: 0 };
    buffer.counted = counted;
    buffer.importers.relabel(counted.group);
    return counted;
  }

  #join({ device, privacy, revoked }: CountedBuffer): BufferGroup {
    const key = keyOf({ device, privacy, revoked });
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { device, privacy, revoked, buffers: 0, bytes: 0n };
      this.#groups.set(key, group);
    }
    group.buffers += 1;
    this[revoked ? 'revoked' : 'live'] += 1;
    const totals = this.#devices.get(device);
    if (totals === undefined) this.#devices.set(device, { buffers: 1, lostMappings: 0 });
    else totals.buffers += 1;
    return group;
  }

  #leave({ group, bytes, lostMappings }: Counted): void {
    group.buffers -= 1;
    group.bytes -= BigInt(bytes);
    this[group.revoked ? 'revoked' : 'live'] -= 1;
    if (group.buffers === 0) this.#groups.delete(keyOf(group));
    this.#addLost(group.device, -lostMappings);
    const totals = this.#devices.get(group.device);
    if (totals === undefined) return;
    totals.buffers -= 1;
    if (totals.buffers === 0) this.#devices.delete(group.device);
  }

  #addLost(device: number, growth: number): void {
    const totals = this.#devices.get(device);
    if (totals !== undefined) totals.lostMappings += growth;
  }
}

function keyOf({ device, privacy, revoked }: Pick<BufferGroup, 'device' | 'privacy' | 'revoked'>): string {
  return `${device}\n${privacy}\n${revoked}`;
}
