import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { type CounterRead, decodeCounter } from './maps.ts';
import { maskAddresses } from './mask.ts';
import { boundText, MESSAGE_LIMIT, TEXT_LIMIT, wellFormed } from './repair.ts';
import { decodeTuple, EVENT_TYPES, type EventRecord, TAGS, type TupleRecord } from './tuples.ts';
import {
  Child,
  type CollectorLine,
  Device,
  DeviceGone,
  Exit,
  Header,
  HostError,
  Joined,
  Loss,
  Process,
  Recording,
  Snapshot,
  SnapshotPart,
  Tick,
  WallClock,
} from './wire.ts';

/** A decoded line: from the collector, from a probe, a counter read, or a message of bpftrace itself. */
export type StreamRecord =
  | CollectorLine
  | TupleRecord
  /** One key of a map, read in the kernel. `read_end` has the number of keys that were printed. */
  | { type: 'counter'; data: CounterRead }
  /** A helper failed in a probe. `map_full`: a count was lost because its map is full. */
  | { type: 'helper_error'; data: { helper: string; retcode: number; map_full: boolean } }
  | { type: 'runtime_error'; data: { message: string } }
  /**
   * bpftrace reports that its ring lost events. Its number is not reliable: compare `emitted` with the events received.
   */
  | { type: 'lost_events' }
  /** A line that is not used: other record types of bpftrace, and its plain text. */
  | { type: 'unknown'; data: { what: string } };

/** Whether the record is an event. The program counts each event in `@emitted`. */
export function isEvent(record: StreamRecord | DecodeFailure): record is EventRecord {
  return EVENT_TYPES.has(record.type);
}

/** Why a line could not be decoded. A closed set: it is also the label `reason` of decode_errors_total. */
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
/** An address that begins inside the sample ends within this many characters after it. */
const ADDRESS_LENGTH = 32;
const OPEN_BRACE = 0x7b;
const E2BIG = 7;

const COLLECTOR_LINES = {
  header: Compile(Header),
  joined: Compile(Joined),
  child: Compile(Child),
  tick: Compile(Tick),
  loss: Compile(Loss),
  host_error: Compile(HostError),
  clock: Compile(WallClock),
  recording: Compile(Recording),
  device: Compile(Device),
  device_gone: Compile(DeviceGone),
  process: Compile(Process),
  exit: Compile(Exit),
  snapshot_part: Compile(SnapshotPart),
  snapshot: Compile(Snapshot),
};

/** Known fields of the lines that the model stores. Other fields, of a newer collector, are removed. */
const KEPT_FIELDS = {
  device: Object.keys(Device.properties),
  process: Object.keys(Process.properties),
} as const;

/** The used fields of bpftrace's messages. Version 0.27 reports a key that is not in its map with retcode 0. */
const HelperError = Compile(
  Type.Object({
    helper: Type.Optional(Type.String()),
    retcode: Type.Optional(Type.Integer({ minimum: -(2 ** 31), maximum: 2 ** 31 - 1 })),
  }),
);
const RuntimeError = Compile(Type.Object({ msg: Type.Optional(Type.String()) }));

/** Numbers that are valid JSON, but that bpftrace never prints: with a fraction or an exponent. */
const OTHER_NUMBER = /[[,] ?-?\d+[.eE]/;
const STRINGS = /"(?:[^"\\]|\\.)*"/g;

/** After a control character, bpftrace 0.24+ prints the numbers of these records in hex, which is not JSON. */
const HEX_POISONED = /^\{"type": ?"(lost_events|attached_probes|hist|lhist|tseries)"/;

/** The failure for a line that cannot be decoded. Its sample is the beginning of the line, without kernel addresses. */
export function failure(reason: DecodeReason, line = ''): DecodeFailure {
  const sample = maskAddresses(line.slice(0, SAMPLE_LENGTH + ADDRESS_LENGTH)).slice(0, SAMPLE_LENGTH);
  return { type: 'failure', reason, sample: wellFormed(sample) };
}

/** Whether the bad line may be an event: then that event has arrived, and the ring did not lose it. */
export function mayBeEvent(reason: DecodeReason): boolean {
  return reason === 'bad_fields' || reason === 'unknown_tag';
}

/** Whether the child of the line counts it in `emitted`: it is an event, or it may be one that cannot be decoded. */
export function isEmitted(record: StreamRecord | DecodeFailure): boolean {
  return record.type === 'failure' ? mayBeEvent(record.reason) : isEvent(record);
}

/** Decodes one line. Never throws: a bad line returns a DecodeFailure. */
export function decodeLine(line: string): StreamRecord | DecodeFailure {
  try {
    return decode(line);
  } catch {
    // This is a bug in the decoder. It must not cost more than this line.
    return failure('not_a_record', line);
  }
}

function decode(line: string): StreamRecord | DecodeFailure {
  // Compile-time warnings of bpftrace 0.24.0 to 0.27.0 are plain text on the same stream. Every record starts with a
  // brace.
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
  if (OTHER_NUMBER.test(line) && OTHER_NUMBER.test(line.replace(STRINGS, '""')))
    return failure('bad_fields', line);
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
    if (!COLLECTOR_LINES[type as keyof typeof COLLECTOR_LINES].Check(data))
      return failure('bad_collector_line', line);
    const valid = { type, data } as CollectorLine;
    if (valid.type === 'device' || valid.type === 'process') keepOnly(valid.data, KEPT_FIELDS[valid.type]);
    if (valid.type === 'child') cleanTexts(valid.data, cleanMessage);
    else cleanTexts(valid.data, cleanName);
    return valid;
  }
  switch (type) {
    case 'lost_events':
      return { type };
    case 'helper_error': {
      if (!HelperError.Check(record)) return failure('not_a_record', line);
      const { helper = '', retcode = 0 } = record;
      const map_full = helper === 'map_update_elem' && retcode === -E2BIG;
      return { type, data: { helper: cleanMessage(helper), retcode, map_full } };
    }
    case 'runtime_error': {
      if (!RuntimeError.Check(record)) return failure('not_a_record', line);
      return { type, data: { message: cleanMessage(record.msg ?? '') } };
    }
    default:
      return unknown(cleanName(type));
  }
}

function keepOnly(data: object, names: readonly string[]): void {
  for (const name of Object.keys(data)) {
    if (!names.includes(name)) Reflect.deleteProperty(data, name);
  }
}

/** Cleans a name, which may become a label. */
function cleanName(text: string): string {
  return boundText(wellFormed(text), TEXT_LIMIT);
}

/** Cleans a message that may contain output of bpftrace. */
function cleanMessage(text: string): string {
  return boundText(wellFormed(maskAddresses(text)), MESSAGE_LIMIT);
}

/** Cleans all texts of a line in place. */
function cleanTexts(value: object, clean: (text: string) => string): void {
  const fields = value as Record<string, unknown>;
  for (const name of Object.keys(fields)) {
    const field = fields[name];
    if (typeof field === 'string') fields[name] = clean(field);
    else if (typeof field === 'object' && field !== null) cleanTexts(field, clean);
  }
}

function unknown(what: string): StreamRecord {
  return { type: 'unknown', data: { what } };
}
