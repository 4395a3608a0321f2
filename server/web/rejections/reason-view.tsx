import { useEffect } from 'preact/hooks';
import { askReason } from '../data/api.ts';
import type { PageStore } from '../data/page-store.ts';
import type { Reason } from '../data/types.ts';

export interface ReasonViewProps {
  store: PageStore;
  name: string;
  /** Only the rules of this stage; null for all. */
  stage: string | null;
  /** Whether the call was an attempt to import a private buffer; null if the text is not about one call. */
  privateBuffer: boolean | null;
}

/** What a reason means and what to do, from the catalogue of the server. */
export function ReasonView({ store, name, stage, privateBuffer }: ReasonViewProps) {
  useEffect(() => {
    if (store.reasons.peek().has(name)) return;
    askReason(name)
      .then((reason) => {
        store.reasons.value = new Map(store.reasons.peek()).set(name, reason);
      })
      .catch(() => {});
  }, [store, name]);
  const reason = store.reasons.value.get(name);
  if (reason === undefined) return <p class="muted">Loading the explanation…</p>;
  if (reason === 'unknown') return <p>The server does not know a reason of this name.</p>;
  const rules = reason.rules.filter((rule) => stage === null || rule.stage === stage);
  return (
    <div class="reason">
      <p>{reason.what}</p>
      {(privateBuffer !== true || reason.private_remedy === null) && (
        <p class="remedy">
          <b>Fix:</b> {reason.remedy}
        </p>
      )}
      {privateBuffer !== false && reason.private_remedy !== null && (
        <p class="remedy">
          <b>{privateBuffer === null ? 'Fix if the buffer is private:' : 'Fix:'}</b>{' '}
          {reason.private_remedy.replaceAll('`', '')}
        </p>
      )}
      {reason.rules.length > 0 && <Rules rules={rules.length > 0 ? rules : reason.rules} />}
    </div>
  );
}

function Rules({ rules }: { rules: Reason['rules'] }) {
  return (
    <details>
      <summary>The kernel's rule</summary>
      <ul>
        {rules.map((rule) => (
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
  );
}
