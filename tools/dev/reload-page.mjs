// Only in the page that `npm run dev` builds. Reloads the page after a change, and shows build errors.
let loaded;
const changes = new EventSource('dev/changes');
changes.addEventListener('build', ({ data }) => {
  loaded ??= data;
  if (data !== loaded) location.reload();
});
changes.addEventListener('problem', ({ data }) => {
  document.getElementById('dev-problem')?.remove();
  const text = JSON.parse(data);
  if (text === '') return;
  const box = document.createElement('pre');
  box.id = 'dev-problem';
  box.textContent = text;
  // The content security policy allows styles that a script sets, but not style attributes in HTML.
  Object.assign(box.style, {
    position: 'fixed',
    inset: '0 0 auto 0',
    zIndex: '1000',
    maxHeight: '50vh',
    overflow: 'auto',
    margin: '0',
    padding: '1em',
    background: '#7a0c1e',
    color: '#ffffff',
  });
  document.body.append(box);
});
