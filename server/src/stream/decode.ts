import { Compile } from 'typebox/compile';
import { TAGS } from './codes.ts';
import { type CounterRead, decodeCounter } from './maps.ts';
import type { DroppedLine } from './source.ts';
import { decodeTuple, type TupleRecord } from './tuples.ts';
import {
  Child,
  type CollectorLine,
  Device,
  DeviceGone,
  Exit,
  Header,
  HostError,
  Loss,
  Process,
  Snapshot,
  Tick,
  WallClock,
} from './wire.ts';

/** What a line says: of the collector, of a probe, a counter read, or a message of bpftrace itself. */
export type StreamRecord =
  | CollectorLine
  | TupleRecord
  /** One key of a map, read in the kernel; `read_end` says whether all of them came. */
  | { type: 'counter'; data: CounterRead }
  /** A helper failed in a probe; `map_full`: a count was lost because its map has no room. */
  | { type: 'helper_error'; data: { helper: string; retcode: number; map_full: boolean } }
  | { type: 'runtime_error'; data: { message: string } }
  /** bpftrace says that its ring lost something; how much is not to be trusted, `emitted` tells. */
  | { type: 'lost_events' }
  /** A line that means nothing to us: other types of bpftrace, its plain text. */
  | { type: 'unknown'; data: { what: string } };

/** Why a line could not be decoded; a closed set, also the label of decode_errors_total. */
export const DECODE_REASONS = [
  'not_json',
  'not_a_record',
  'unknown_tag',
  'bad_fields',
  'bad_collector_line',
  'bad_map',
  'oversized_line',
  'truncated_line',
] as const;
export type DecodeReason = (typeof DECODE_REASONS)[number];

export interface DecodeFailure {
  type: 'failure';
  reason: DecodeReason;
  /** The beginning of the line. */
  sample: string;
}

const SAMPLE_LENGTH = 200;
const OPEN_BRACE = 0x7b;
const E2BIG = 7;

const COLLECTOR_LINES = {
  header: Compile(Header),
  child: Compile(Child),
  tick: Compile(Tick),
  loss: Compile(Loss),
  host_error: Compile(HostError),
  clock: Compile(WallClock),
  device: Compile(Device),
  device_gone: Compile(DeviceGone),
  process: Compile(Process),
  exit: Compile(Exit),
  snapshot: Compile(Snapshot),
};

/** bpftrace 0.24+ prints these numbers in hex, which is no JSON, once it has printed a control character. */
const HEX_POISONED = /^\{"type": ?"(lost_events|attached_probes|hist|lhist|tseries)"/;

export function failure(reason: DecodeReason, line = ''): DecodeFailure {
  return { type: 'failure', reason, sample: line.slice(0, SAMPLE_LENGTH) };
}

/** A line that its source dropped, as the failure it counts for. */
export function droppedLine(why: DroppedLine): DecodeFailure {
  return failure(why);
}

/** Decodes one line. Never throws: what is wrong with a line is in the answer. */
export function decodeLine(line: string): StreamRecord | DecodeFailure {
  // Compile-time warnings of bpftrace 0.24.0 to 0.27.0 come as plain text on the same stream; no record of ours does.
  if (line.charCodeAt(0) !== OPEN_BRACE) return unknown('text');
  const counter = decodeCounter(line);
  if (counter === 'bad_map') return failure('bad_map', line);
  if (counter !== null) return { type: 'counter', data: counter };
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    const poisoned = HEX_POISONED.exec(line)?.[1];
    if (poisoned === undefined) return failure('not_json', line);
    return poisoned === 'lost_events' ? { type: 'lost_events' } : unknown(poisoned);
  }
  const record = parsed as { type?: unknown; data?: unknown };
  if (record.type === 'value') return fromValue(record.data, line);
  if (typeof record.type !== 'string') return failure('not_a_record', line);
  return fromNamed(record.type, record as Record<string, unknown>, line);
}

function fromValue(data: unknown, line: string): StreamRecord | DecodeFailure {
  if (!Array.isArray(data)) return failure('not_a_record', line);
  if (data[0] === TAGS.counter) return failure('bad_map', line);
  const record = decodeTuple(data);
  return typeof record === 'string' ? failure(record, line) : record;
}

function fromNamed(
  type: string,
  record: Record<string, unknown>,
  line: string,
): StreamRecord | DecodeFailure {
  if (Object.hasOwn(COLLECTOR_LINES, type)) {
    const { data } = record;
    const valid = COLLECTOR_LINES[type as keyof typeof COLLECTOR_LINES].Check(data);
    return valid ? ({ type, data } as CollectorLine) : failure('bad_collector_line', line);
  }
  switch (type) {
    case 'lost_events':
      return { type };
    case 'helper_error': {
      const helper = String(record.helper ?? '');
      const retcode = Number(record.retcode ?? 0);
      return {
        type,
        data: { helper, retcode, map_full: helper === 'map_update_elem' && retcode === -E2BIG },
      };
    }
    case 'runtime_error':
      return { type, data: { message: String(record.msg ?? '') } };
    default:
      return unknown(type);
  }
}

function unknown(what: string): StreamRecord {
  return { type: 'unknown', data: { what } };
}
