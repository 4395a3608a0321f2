import type { ComponentChildren } from 'preact';

/** A section of the page. Its heading labels it, and the navigation links to it. */
export function Section(props: {
  id: string;
  title: string;
  note?: ComponentChildren;
  children: ComponentChildren;
}) {
  const { id, title, note, children } = props;
  return (
    <section class={`part part-${id}`} id={id} tabIndex={-1} aria-labelledby={`${id}-title`}>
      <div class="part-head">
        <h2 id={`${id}-title`}>{title}</h2>
        {note !== undefined && <p class="note">{note}</p>}
      </div>
      {children}
    </section>
  );
}
