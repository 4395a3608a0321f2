import type { BufferState } from '../model/buffer-state.ts';
import { importerName } from '../model/naming.ts';
import type { TupleOf } from '../protocol/tuples.ts';
import { named } from './participants.ts';
import { type Detector, openingFor, type RuleContext } from './rule.ts';
import type { IncidentState } from './store.ts';

export type Attach = TupleOf<'import'>['data'];

/** The most recent attaches that are kept for an event that arrives late. */
const RECENT_LIMIT = 64;

/**
 * Calls `report` for each attach that matches, by an importer other than KVM. An attach that does not match yet is kept:
 * the event of the export or bind, or a snapshot, may still describe the buffer.
 */
export function detectForeignAttaches(
  matches: (buffer: BufferState, attach: Attach) => boolean,
  report: (buffer: BufferState, attach: Attach) => void,
): Pick<Detector, 'event' | 'exported' | 'described'> {
  let kept: Attach[] = [];

  function attached(attach: Attach, buffer: BufferState | undefined): void {
    if (importerName(attach.importer) === 'kvm') return;
    if (buffer !== undefined && matches(buffer, attach)) {
      report(buffer, attach);
      return;
    }
    kept.push(attach);
    if (kept.length > RECENT_LIMIT) kept.shift();
  }

  function described(buffer: BufferState): void {
    const isMatch = (attach: Attach) => attach.inode === buffer.inode && matches(buffer, attach);
    const matching = kept.filter(isMatch);
    if (matching.length === 0) return;
    kept = kept.filter((attach) => !matching.includes(attach));
    for (const attach of matching) report(buffer, attach);
  }

  return {
    event({ type, data }, buffer) {
      if (type === 'import' && data.stage === 'attach') attached(data, buffer);
      if (type === 'bind' && data.errno === 0 && buffer !== undefined) described(buffer);
    },
    exported: (_data, buffer) => described(buffer),
    described,
  };
}

/** Opens the incident of a buffer and the importer that attaches it, or counts the attach in the open one. */
export function openForAttach<Details>(
  { find, open }: RuleContext<Details>,
  buffer: BufferState,
  attach: Pick<Attach, 't' | 'importer' | 'importer_device'>,
  details: Details,
): IncidentState<Details> | null {
  const importer = importerName(attach.importer);
  const { t, importer_device } = attach;
  const subject = `${buffer.inode}\n${importer}\n${importer_device}`;
  const known = find(subject);
  if (known !== undefined) {
    known.count += 1;
    return known;
  }
  const importers = named([{ importer, importer_device, inode: buffer.inode }]);
  return open({ ...openingFor(buffer, t), subject, importers, details });
}
