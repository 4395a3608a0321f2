import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { count, words } from '../../src/contract/format.ts';
import { type Knowledge, knowledgeOf, NOT_KNOWN } from '../data/knowledge.ts';
import type { PageStore } from '../data/page-store.ts';
import type { Incident, Incidents } from '../data/types.ts';
import { Section } from '../parts/section.tsx';
import { Age, When } from '../parts/times.tsx';

/** Closed incidents that are shown, besides critical ones. The API has all. */
const CLOSED_SHOWN = 5;
const FEW = 6;
const MANY = 200;

function openOnes(open: number): string {
  return open === 0 ? 'none open' : `${open} open`;
}
const NOTES: Readonly<Record<Knowledge, (open: number) => string>> = {
  now: openOnes,
  before: (open) => `${openOnes(open)} when tracing ended`,
  never: () => 'not known',
};
const EMPTY: Readonly<Record<Knowledge, string>> = {
  now: 'No incident since the start.',
  before: 'No incident while this host was traced.',
  never: NOT_KNOWN,
};

export function IncidentsSection({ store }: { store: PageStore }) {
  const all = useSignal(false);
  const answer = store.incidents.value;
  if (answer === null) return null;
  const known = knowledgeOf(store.status.value);
  const wanted = store.view.value.incident;
  const limit = all.value ? MANY : FEW;
  const open = answer.incidents.filter(({ state }) => state === 'open');
  const closed = answer.incidents.filter(({ state }) => state === 'closed');
  // The end of a critical incident does not undo what it exposed, so it stays at the top.
  const critical = closed.filter(({ severity }) => severity === 'critical');
  const others = closed.filter(({ severity }) => severity !== 'critical');
  const shown = [
    ...critical.filter(({ id }, index) => index < limit || id === wanted),
    ...open.filter(({ id }, index) => index < limit || id === wanted),
    ...others.filter(({ id }, index) => index < CLOSED_SHOWN || id === wanted),
  ];
  const left = open.length + closed.length - shown.length;
  return (
    <Section id="incidents" title="Incidents" note={NOTES[known](open.length)}>
      {shown.length === 0 && <p class="empty">{EMPTY[known]}</p>}
      <ul class="incidents">
        {shown.map((incident) => (
          <Item
            key={incident.id}
            store={store}
            incident={incident}
            answer={answer}
            wanted={incident.id === wanted}
          />
        ))}
      </ul>
      {wanted !== null && !answer.incidents.some(({ id }) => id === wanted) && (
        <p class="empty">Incident {wanted} is not known: it was evicted, or belongs to an earlier start.</p>
      )}
      {(left > 0 || answer.folded > 0) && (
        <p class="more">
          {left > 0 && (
            <>
              {count(left, 'more', 'more')}:{' '}
              {!all.value && open.length > FEW && (
                <>
                  <button type="button" class="link" onClick={() => (all.value = true)}>
                    show {Math.min(MANY, open.length)}
                  </button>{' '}
                  or{' '}
                </>
              )}
              <a href="api/v1/incidents">all from the API</a>
            </>
          )}
          {answer.folded > 0 &&
            `; ${answer.folded} more were not opened, because their kind was at its limit`}
        </p>
      )}
      {answer.not_detected.length > 0 && (
        <p class="more">
          Not detected: {answer.not_detected.map(words).join(', ')}. Their probes are not attached.
        </p>
      )}
    </Section>
  );
}

function Item(props: { store: PageStore; incident: Incident; answer: Incidents; wanted: boolean }) {
  const { store, incident, answer, wanted } = props;
  const element = useRef<HTMLLIElement>(null);
  useLayoutEffect(() => {
    if (wanted) element.current?.scrollIntoView({ block: 'center' });
  }, [wanted]);
  const { severity, state, kind, inode } = incident;
  return (
    <li ref={element} class={`incident ${state} ${severity}${wanted ? ' wanted' : ''}`}>
      <p class="incident-head">
        <span class={`badge ${severity}`}>{severity}</span>
        {state === 'closed' && <span class="badge over">ended</span>}
        <b>{words(kind)}</b>
        <span class="note">
          {state === 'open' ? 'for ' : ''}
          {state === 'open' ? (
            <Age store={store} iso={incident.since} />
          ) : (
            <When store={store} iso={incident.closed_at ?? incident.since} />
          )}
          {incident.count > 1 && `, ${incident.count} times`}
        </span>
      </p>
      <p>{incident.sentence}</p>
      <p class="remedy">
        <b>Fix:</b> {answer.kinds[kind]?.remedy.replaceAll('`', '')}
      </p>
      {!incident.exact && (
        <p class="more">Events were lost meanwhile: it may have ended, and its times may be wrong.</p>
      )}
      {answer.kinds[kind] !== undefined && (
        <>
          <a href={`runbooks/${answer.kinds[kind].runbook}`}>Runbook</a>{' '}
        </>
      )}
      {inode !== null && (
        <button type="button" class="link" onClick={() => store.show({ buffer: inode })}>
          History of buffer {inode}
        </button>
      )}
    </li>
  );
}
