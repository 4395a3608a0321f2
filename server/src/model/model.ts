import type { DecodeFailure, StreamRecord } from '../stream/decode.ts';
import type { Device } from '../stream/wire.ts';
import type { BufferView, Status, TracerEvent } from './schema.ts';

export interface ModelOptions {
  /** Version of this program, for the status and build_info. */
  version: string;
  source: { kind: 'live' | 'replay'; name: string };
  /** Released buffers that are remembered; default 1000. */
  historyLimit?: number;
  /** Label sets a metric family may have before new ones are folded into `other`; default 500. */
  seriesLimit?: number;
}

/** All that the server knows, as a pure function of the lines so far: no clock, no I/O. */
export class TracerModel {
  readonly options: Readonly<Required<ModelOptions>>;
  /** Grows with each record: equal revisions mean equal answers. */
  revision = 0;

  constructor(options: ModelOptions) {
    this.options = { historyLimit: 1000, seriesLimit: 500, ...options };
  }

  /** Takes one record in and gives the events it tells of (none or one). */
  apply(_record: StreamRecord | DecodeFailure): TracerEvent[] {
    return [];
  }

  status(): Status {
    throw new Error('not yet');
  }

  /** Live and revoked buffers first, then the remembered released ones, newest last. */
  buffers(): BufferView[] {
    return [];
  }

  buffer(_inode: number): BufferView | undefined {
    return undefined;
  }

  /** What the collector told of the devices, by PCI address. */
  devices(): Device[] {
    return [];
  }
}
