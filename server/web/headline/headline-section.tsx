import { bytes, NO_VALUE, number } from '../../src/contract/format.ts';
import { type Level, REASONS_SHOWN, verdictOf } from '../../src/contract/verdict.ts';
import { type Coverage, covers, figure, knowledgeOf } from '../data/knowledge.ts';
import type { PageStore } from '../data/page-store.ts';
import type { Status } from '../data/types.ts';
import { When } from '../parts/times.tsx';

/** A shape for each level, because not everybody can distinguish the colors. */
const SHAPES: Readonly<Record<Level, string>> = {
  safe: 'M12 2 21 6v6c0 5-3.6 8.6-9 10-5.4-1.4-9-5-9-10V6zM8 12l3 3 5.5-6',
  attention: 'M12 3 22 20.5H2zM12 9.5v5m0 2.6v.3',
  critical: 'M8 2h8l6 6v8l-6 6H8l-6-6V8zM12 7v6m0 3.4v.3',
  blind: 'M2 12c3-5 6.500-7 10-7s7 2 10 7c-3 5-6.500 7-10 7s-7-2-10-7zM4 4l16 16',
  'not-ready': 'M12 3a9 9 0 1 0 .01 0zM12 7.500V12l3.500 2',
};

export function HeadlineSection({ store }: { store: PageStore }) {
  const status = store.status.value;
  if (status === null) return null;
  const { buffers } = store.buffers.value;
  const incidents = store.incidents.value;
  const { level, word, why } = verdictOf({ status, incidents, buffers });
  const [first, ...others] = why;
  const shown = others.slice(0, REASONS_SHOWN - 1);
  const remedy = status.problem?.remedy ?? null;
  return (
    <section class={`headline ${level}`} aria-labelledby="state">
      <svg class="shape" viewBox="0 0 24 24" aria-hidden="true">
        <path d={SHAPES[level]} />
      </svg>
      <div class="state" role="status" aria-live="polite">
        <h1 id="state">
          {word} {status.source.kind === 'replay' && <small>at the end of the recording</small>}
        </h1>
        <p>{first}</p>
        {others.length > 0 && (
          <ul>
            {shown.map((sentence) => (
              <li key={sentence}>{sentence}</li>
            ))}
            {others.length > shown.length && (
              <li>and {others.length - shown.length} more: see the incidents</li>
            )}
          </ul>
        )}
        {remedy !== null && (
          <p class="remedy">
            <b>Fix:</b> {remedy}
          </p>
        )}
      </div>
      <Facts store={store} />
      <Source store={store} status={status} />
    </section>
  );
}

function Facts({ store }: { store: PageStore }) {
  const { buffers } = store.buffers.value;
  const alive = buffers.filter(({ state }) => state !== 'released');
  const revoked = alive.filter(({ state }) => state === 'revoked').length;
  const secret = alive.filter(({ privacy }) => privacy === 'private').length;
  const importers = new Set(
    alive.flatMap(({ attachments }) => attachments.map((one) => `${one.importer}/${one.importer_device}`)),
  ).size;
  const rejected = store.rejectionCounts.reduce((sum, { count: rejections }) => sum + rejections, 0);
  const size = alive.reduce((sum, one) => sum + one.bytes, 0);
  const status = store.status.value;
  const known = knowledgeOf(status);
  const then = (note: string): string => (known === 'before' ? 'when tracing ended' : note);
  const note = (what: Coverage, text: string): string => then(covers(status, what) ? text : 'not all traced');
  const facts: [string, string, string][] = [
    [
      'Buffers',
      number(alive.length),
      alive.length > 0 ? bytes(size) : then(status?.buffer_state_exact === true ? 'none now' : 'none known'),
    ],
    ['Private', number(secret), then(privacyNote(status))],
    ['Revoked', figure(revoked, status, 'revocations'), note('revocations', 'now')],
    ['Importers', figure(importers, status, 'importers'), note('importers', 'attached to one')],
    status?.last_counter_read === null
      ? ['Rejected', NO_VALUE, 'not read yet']
      : ['Rejected', figure(rejected, status, 'rejections'), note('rejections', 'since the start')],
  ];
  if (known === 'never') for (const fact of facts) fact.splice(1, 2, NO_VALUE, 'not known');
  return (
    <dl class="facts">
      {facts.map(([name, value, note]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <b>{value}</b> <span>{note}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}

function privacyNote(status: Status | null): string {
  return status?.dialect === 'private-v1' ? 'by their export' : 'not declared by this kernel';
}

function Source({ store, status }: { store: PageStore; status: Status }) {
  const known = knowledgeOf(status);
  return (
    <p class="source">
      {sourceWord(status)} {status.kernel ?? 'not known yet'}, dialect {status.dialect}
      {status.bpftrace !== null && `, bpftrace ${status.bpftrace}`}.
      {status.last_counter_read !== null && (
        <>
          {' '}
          Counters read at <When store={store} iso={status.last_counter_read} />.
        </>
      )}
      {known === 'before' && ' The values below are from before tracing ended.'}
    </p>
  );
}

function sourceWord({ source, state }: Status): string {
  if (source.kind === 'replay') return 'Recorded on kernel';
  return state === 'tracing' ? 'Tracing kernel' : 'Kernel';
}
