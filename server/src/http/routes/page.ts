import { Type } from 'typebox';
import { words } from '../../contract/format.ts';
import type { BlindTo, Incident } from '../../contract/incidents.ts';
import type { Status } from '../../contract/status.ts';
import { TracerError } from '../../lib/errors.ts';
import { asksFor } from '../encoding.ts';
import type { AppPlugin } from '../plugin.ts';
import type { Readiness } from '../readiness.ts';
import type { WebFiles } from '../web-files.ts';

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/**
 * The live page. The HTML contains the current state as plain facts. In a browser with scripts, the live view replaces
 * them.
 */
export const pageRoute: AppPlugin = (app, options, done) => {
  const { model, readiness, web } = options;
  app.get('/', (_request, reply) => {
    reply
      .header('content-security-policy', POLICY)
      .header('referrer-policy', 'no-referrer')
      .type('text/html; charset=utf-8');
    const paths = app.paths.filter((path) => path !== '/');
    return reply.send(
      [
        head(web, options.telemetryPath),
        ...facts(model.status(), model.incidents.all(), model.incidents.blindTo(), readiness(), paths),
        TAIL,
      ].join('\n'),
    );
  });

  app.get('/assets/:name', { schema: { params: Type.Object({ name: Type.String() }) } }, (request, reply) => {
    const file = web?.get(request.params.name);
    if (file === undefined) {
      throw new TracerError('not_found', 'the page has no such file', {
        remedy: 'reload the page: it was built for another version',
      });
    }
    reply.header('cache-control', 'public, max-age=31536000, immutable').header('vary', 'accept-encoding');
    const coding = (['br', 'gzip'] as const).find((one) => asksFor(one, request.headers['accept-encoding']));
    if (coding !== undefined) reply.header('content-encoding', coding);
    return reply.header('content-type', file.type).send(file[coding ?? 'plain']);
  });
  done();
};

/** URLs are relative, so that the page works below a path prefix of a reverse proxy. */
function head(web: WebFiles | undefined, telemetryPath: string): string {
  const names = [...(web?.keys() ?? [])];
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark"><title>vfio-dmabuf-tracer</title>',
    ...names.map((name) => {
      if (name.endsWith('.js')) return `<script type="module" src="assets/${name}"></script>`;
      return name.endsWith('.css')
        ? `<link rel="stylesheet" href="assets/${name}">`
        : `<link rel="icon" href="assets/${name}">`;
    }),
    `</head><body><div id="page" data-metrics="${escapeHtml(telemetryPath.slice(1))}">`,
  ].join('\n');
}

/** Shown instead of a zero: while nothing is traced, a zero would suggest that all is well. */
const NOT_KNOWN = 'not known: nothing is traced';

const TAIL = '</div></body></html>\n';

function facts(
  status: Status,
  incidents: readonly Incident[],
  blind: readonly BlindTo[],
  readiness: Readiness,
  paths: readonly string[],
): string[] {
  const replay = status.source.kind === 'replay';
  const traced = status.state === 'tracing' || status.last_counter_read !== null;
  const rows: [string, string][] = [
    ['Source', replay ? `replay of ${status.source.name}: not this host, not now` : status.source.name],
    ['State', readiness.ready ? describeState(status) : `not ready: ${readiness.why}`],
    ['Incidents', traced ? describeIncidents(incidents) : NOT_KNOWN],
    ['Kernel', `${status.kernel ?? 'not known yet'}, dialect ${status.dialect}`],
    ['Buffers', traced ? `${status.buffers.live} live, ${status.buffers.revoked} revoked` : NOT_KNOWN],
    ['Events', `${status.events_received} received, ${status.events_unaccounted} unaccounted for`],
  ];
  if (status.simulation !== null)
    rows.splice(1, 0, ['Simulated', `${status.simulation}: some data here is simulated`]);
  if (traced && blind.length > 0) rows.push(['Blind to', blind.map(({ kind }) => words(kind)).join(', ')]);
  const remedy = status.problem?.remedy;
  if (remedy !== null && remedy !== undefined) rows.push(['Fix', remedy]);
  return [
    `<main class="no-script"><h1>vfio-dmabuf-tracer ${escapeHtml(status.version)}</h1>`,
    '<p>Which VFIO device exports its memory as a dma-buf to whom, which import was rejected, and why.</p><dl>',
    ...rows.map(
      ([name, text]) =>
        `<dt>${name}</dt><dd${name === 'State' && !readiness.ready ? ' class="bad"' : ''}>${escapeHtml(text)}</dd>`,
    ),
    '</dl><ul>',
    ...paths.map((path) => `<li><a href="${escapeHtml(path)}"><code>${escapeHtml(path)}</code></a></li>`),
    '</ul></main>',
  ];
}

function describeState(status: Status): string {
  if (status.source.kind === 'replay') return 'the recording has been read to its end';
  const read = status.last_counter_read === null ? '' : `, counters read at ${status.last_counter_read}`;
  return `tracing${read}`;
}

/** The number of open incidents and the worst one, for a page without scripts. */
function describeIncidents(incidents: readonly Incident[]): string {
  const open = incidents.filter(({ state }) => state === 'open');
  if (open.length === 0) return 'none open';
  const critical = open.filter(({ severity }) => severity === 'critical');
  const first = (critical[0] ?? open[0])?.sentence ?? '';
  return `${open.length} open, ${critical.length} of them critical: ${first}`;
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
