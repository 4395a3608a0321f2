import { createHash } from 'node:crypto';
import type { Status } from '../../model/schema.ts';
import type { AppPlugin } from '../app.ts';
import type { Readiness } from '../readiness.ts';

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;' +
  'background:#fff}dt{font-weight:600}dd{margin:0 0 .5rem}code{font-size:.95em}.bad{color:#a40e26}' +
  '@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}a{color:#7ab7ff}.bad{color:#ff8b94}}';

const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export const landingRoute: AppPlugin = (app, options, done) => {
  app.get('/', (_request, reply) => {
    reply.header('content-security-policy', POLICY).header('referrer-policy', 'no-referrer');
    const paths = app.paths.filter((path) => path !== '/');
    return reply
      .type('text/html; charset=utf-8')
      .send(page(options.model.status(), options.readiness(), paths));
  });
  done();
};

function page(status: Status, readiness: Readiness, paths: readonly string[]): string {
  const replay = status.source.kind === 'replay';
  const facts: [string, string][] = [
    ['Source', replay ? `replay of ${status.source.name}: not this host, not now` : status.source.name],
    ['State', readiness.ready ? stateInWords(status) : `not ready: ${readiness.why}`],
    ['Kernel', `${status.kernel ?? 'not known yet'}, dialect ${status.dialect}`],
    ['Buffers', `${status.buffers.live} live, ${status.buffers.revoked} revoked`],
    ['Events', `${status.events_received} received, ${status.events_unaccounted} unaccounted for`],
  ];
  if (status.simulation !== null)
    facts.splice(1, 0, ['Simulated', `${status.simulation}: not all here is real`]);
  const remedy = status.problem?.remedy;
  if (remedy !== null && remedy !== undefined) facts.push(['To mend it', remedy]);
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width">',
    `<title>vfio-dmabuf-tracer</title><style>${STYLE}</style></head><body>`,
    `<h1>vfio-dmabuf-tracer ${escapeHtml(status.version)}</h1>`,
    '<p>Which VFIO device exports its memory as a dma-buf to whom, which import was refused, and why.</p><dl>',
    ...facts.map(
      ([name, text]) =>
        `<dt>${name}</dt><dd${name === 'State' && !readiness.ready ? ' class="bad"' : ''}>${escapeHtml(text)}</dd>`,
    ),
    '</dl><ul>',
    ...paths.map((path) => `<li><a href="${escapeHtml(path)}"><code>${escapeHtml(path)}</code></a></li>`),
    '</ul></body></html>\n',
  ].join('\n');
}

function stateInWords(status: Status): string {
  if (status.source.kind === 'replay') return 'the recording has been read to its end';
  const read = status.last_counter_read === null ? '' : `, counters read at ${status.last_counter_read}`;
  return `tracing${read}`;
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
