import { count, words } from '../../src/contract/format.ts';
import type { PageStore } from '../data/page-store.ts';
import type { Status } from '../data/types.ts';
import { Section } from '../parts/section.tsx';

type Probe = Status['probes'][number];

/** Functions that are not attached, and why. */
export function ProbesSection({ store }: { store: PageStore }) {
  const status = store.status.value;
  if (status === null) return null;
  const missing = status.probes.filter(({ attached }) => !attached);
  const attached = status.probes.filter((probe) => probe.attached);
  return (
    <Section
      id="probes"
      title="Probes"
      note={`${attached.length} of ${count(status.probes.length, 'function')} attached`}
    >
      {status.probes.length === 0 && <p class="empty">No bpftrace program has been generated yet.</p>}
      {missing.length > 0 && (
        <>
          <p>Values that need these functions are unknown, not zero.</p>
          <ul class="probes missing">
            {missing.map((probe) => (
              <li key={`${probe.probe} ${probe.function}`}>
                <ProbeName probe={probe} /> <span class="why">{probe.reason ?? 'not attached'}</span>
              </li>
            ))}
          </ul>
        </>
      )}
      {attached.length > 0 && (
        <details>
          <summary>{count(attached.length, 'function')} attached</summary>
          <ul class="probes">
            {attached.map((probe) => (
              <li key={`${probe.probe} ${probe.function}`}>
                <ProbeName probe={probe} />
              </li>
            ))}
          </ul>
        </details>
      )}
    </Section>
  );
}

function ProbeName({ probe }: { probe: Probe }) {
  return (
    <>
      <b>{words(probe.probe)}</b> <code>{probe.function}</code>
      {probe.module !== null && <span class="muted"> {probe.module}</span>}
    </>
  );
}
