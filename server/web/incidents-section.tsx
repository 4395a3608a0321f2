import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { count } from './format.ts';
import { type Knowledge, knowledgeOf, NOT_KNOWN } from './headline.ts';
import { Section } from './section.tsx';
import type { Store } from './store.ts';
import type { Incident, Incidents } from './types.ts';
import { Age, When } from './when.tsx';

/** More of the closed ones are in the API. */
const CLOSED_SHOWN = 5;
const FEW = 6;
const MANY = 200;

const openOnes = (open: number): string => (open === 0 ? 'none open' : `${open} open`);
const NOTES: Readonly<Record<Knowledge, (open: number) => string>> = {
  now: openOnes,
  before: (open) => `${openOnes(open)} when last seen`,
  never: () => 'not known',
};
const EMPTY: Readonly<Record<Knowledge, string>> = {
  now: 'There was no incident since the start.',
  before: 'There was no incident while this host was traced.',
  never: NOT_KNOWN,
};

export function IncidentsSection({ store }: { store: Store }) {
  const all = useSignal(false);
  const answer = store.incidents.value;
  if (answer === null) return null;
  const known = knowledgeOf(store.status.value);
  const wanted = store.view.value.incident;
  const limit = all.value ? MANY : FEW;
  const open = answer.incidents.filter(({ state }) => state === 'open');
  const closed = answer.incidents.filter(({ state }) => state === 'closed');
  const shown = [
    ...open.filter(({ id }, index) => index < limit || id === wanted),
    ...closed.filter(({ id }, index) => index < CLOSED_SHOWN || id === wanted),
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
        <p class="empty">Incident {wanted} is not known here: it was forgotten, or is of another start.</p>
      )}
      {(left > 0 || answer.folded > 0) && (
        <p class="more">
          {left > 0 && (
            <>
              {count(left, 'more', 'more')}:{' '}
              {!all.value && open.length > FEW && (
                <>
                  <button type="button" class="link" onClick={() => (all.value = true)}>
                    show the open ones
                  </button>{' '}
                  or{' '}
                </>
              )}
              <a href="api/v1/incidents">all from the API</a>
            </>
          )}
          {answer.folded > 0 && `; ${answer.folded} more were not opened, for their kind had too many`}
        </p>
      )}
      {answer.unwatched.length > 0 && (
        <p class="more">
          Not watched for here: {answer.unwatched.join(', ').replaceAll('_', ' ')}. The probes or the kernel
          cannot tell.
        </p>
      )}
    </Section>
  );
}

function Item(props: { store: Store; incident: Incident; answer: Incidents; wanted: boolean }) {
  const { store, incident, answer, wanted } = props;
  const element = useRef<HTMLLIElement>(null);
  useLayoutEffect(() => {
    if (wanted) element.current?.scrollIntoView({ block: 'center' });
  }, [wanted]);
  const { severity, state, kind, inode } = incident;
  return (
    <li ref={element} class={`incident ${state} ${severity}${wanted ? ' wanted' : ''}`}>
      <p class="incident-head">
        <span class={`badge ${state === 'open' ? severity : 'over'}`}>
          {state === 'open' ? severity : 'over'}
        </span>
        <b>{kind.replaceAll('_', ' ')}</b>
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
      {state === 'open' && (
        <p class="remedy">
          <b>What to do:</b> {answer.kinds[kind]?.remedy.replaceAll('`', '')}.
        </p>
      )}
      {!incident.exact && (
        <p class="more">Events were lost meanwhile: it may be over, or be off in its times.</p>
      )}
      {inode !== null && (
        <button type="button" class="link" onClick={() => store.show({ buffer: inode })}>
          Life of buffer {inode}
        </button>
      )}
    </li>
  );
}
