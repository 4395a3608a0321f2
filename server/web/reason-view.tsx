import { useEffect } from 'preact/hooks';
import { askReason } from './api.ts';
import type { Store } from './store.ts';

/** What a reason means and what to do, from the catalogue of the server; asked for once. */
export function ReasonView({ store, name, stage }: { store: Store; name: string; stage: string | null }) {
  useEffect(() => {
    if (store.reasons.peek().has(name)) return;
    askReason(name)
      .then((reason) => {
        store.reasons.value = new Map(store.reasons.peek()).set(name, reason);
      })
      .catch(() => {});
  }, [store, name]);
  const reason = store.reasons.value.get(name);
  if (reason === undefined) return <p class="muted">Reading what it means…</p>;
  if (reason === 'unknown') return <p>The server knows no reason of this name.</p>;
  const rules = reason.rules.filter((rule) => stage === null || rule.stage === stage);
  return (
    <div class="reason">
      <p>{reason.what}</p>
      <p class="remedy">
        <b>What to do:</b> {reason.remedy}
      </p>
      <details>
        <summary>The rule of the kernel</summary>
        <ul>
          {(rules.length > 0 ? rules : reason.rules).map((rule) => (
            <li key={`${rule.stage} ${rule.function} ${rule.check}`}>
              <code>{rule.function}</code> at {rule.stage}
              {rule.errno !== null && (
                <>
                  {' '}
                  (<code>{rule.errno}</code>)
                </>
              )}
              : {rule.check}
              <span class="muted">
                {' '}
                {rule.file}, kernels: {rule.kernels}
                {rule.mainline !== null && ` (mainline ${rule.mainline})`}
              </span>
            </li>
          ))}
        </ul>
      </details>
    </div>
  );
}
