import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Dashboard, Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { dashboardFiles } from '../src/all.ts';
import { catalogue, families, REPOSITORY } from './catalogue.ts';
import { panelsOf, readDashboards, targetsOf, withAll } from './dashboards.ts';
import { busyHost } from './live-host.ts';
import { readQuery } from './promql.ts';

const dashboards = readDashboards();
const entries = [...dashboards];
function each(check: (dashboard: Dashboard, file: string) => void): void {
  assert.equal(entries.length, 5);
  for (const [file, dashboard] of entries) check(dashboard, file);
}
function eachPanel(check: (panel: Panel, where: string, dashboard: Dashboard) => void): void {
  each((dashboard, file) => {
    for (const panel of panelsOf(dashboard)) check(panel, `${file}: ${panel.title}`, dashboard);
  });
}
function variablesOf(dashboard: Dashboard): string[] {
  return (dashboard.templating?.list ?? []).map(({ name }) => name);
}
function all(value: unknown, pattern: RegExp): string[] {
  return [...JSON.stringify(value).matchAll(pattern)].map(([, found = '']) => found);
}

/** Families that no panel shows, and why. */
const NOT_SHOWN: Record<string, string> = {
  vfio_dmabuf_config_last_reload_successful: 'its alert names host and file',
  vfio_dmabuf_config_last_reload_success_timestamp_seconds: 'its runbook shows it',
  vfio_dmabuf_events_output_written_total: 'dropped events are shown',
  vfio_dmabuf_facts_evicted_total: 'no alert needs it',
  vfio_dmabuf_http_connections: 'dropped connections are shown',
  vfio_dmabuf_incidents_folded_total: 'no alert needs it',
  vfio_dmabuf_incidents_total: 'open incidents are shown',
  vfio_dmabuf_late_releases_total: 'open incidents are shown',
  vfio_dmabuf_stream_clients: 'rejected clients are shown',
};

test('the committed dashboards are generated from the sources; npm run dashboards writes them', () => {
  const files = dashboardFiles();
  assert.deepEqual(readdirSync(join(REPOSITORY, 'dashboards/json')).sort(), [...files.keys()].sort());
  for (const [name, text] of files) {
    assert.equal(`${JSON.stringify(dashboards.get(name), null, 2)}\n`, text, name);
  }
});

test('a dashboard imports without edits: a fixed uid, a variable for the data source, no inputs', () => {
  const uids = new Set<string>();
  each((dashboard, file) => {
    assert.match(dashboard.uid ?? '', /^[a-z-]{8,40}$/, file);
    uids.add(dashboard.uid ?? '');
    assert.ok(dashboard.schemaVersion > 36, file);
    assert.ok(!('__inputs' in dashboard) && !('__requires' in dashboard) && dashboard.id === undefined, file);
    assert.deepEqual(variablesOf(dashboard).slice(0, 3), ['datasource', 'cluster', 'instance'], file);
    assert.equal(dashboard.templating?.list?.[0]?.type, 'datasource', file);
    assert.ok((dashboard.description ?? '') !== '', file);
  });
  assert.equal(uids.size, 5);
});

test('every variable in a query, link or annotation is defined, or is built into Grafana', () => {
  const own =
    /^(__all|__range|__rate_interval|__interval|__url_time_range|__field\.labels\.\w+|__data\.fields\.\w+)$/;
  each((dashboard, file) => {
    const variables = variablesOf(dashboard);
    const named = all(dashboard, /\$\{?([a-zA-Z_][\w.]*)/g);
    assert.ok(named.length > 20, file);
    for (const name of named) assert.ok(own.test(name) || variables.includes(name), `${file}: ${name}`);
  });
});

test('every value variable except the single host matches all series by default, also those without its label', () => {
  each((dashboard, file) => {
    for (const variable of dashboard.templating?.list ?? []) {
      if (variable.type !== 'query') continue;
      const single = variable.name === 'runbooks' || (file === 'host.json' && variable.name === 'instance');
      if (single) assert.equal(variable.includeAll, false);
      else assert.equal(variable.allValue, '.*', `${file}: ${variable.name}`);
    }
  });
});

test('panels have unique ids, fit the grid and do not overlap', () => {
  each((dashboard, file) => {
    const panels = dashboard.panels ?? [];
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length, file);
    const occupied = new Set<string>();
    for (const { title, gridPos } of panels) {
      assert.ok(gridPos !== undefined, `${file}: ${title}`);
      const { x, y, w, h } = gridPos;
      assert.ok(w > 0 && h > 0 && x >= 0 && x + w <= 24, `${file}: ${title}`);
      for (let column = x; column < x + w; column += 1) {
        for (let line = y; line < y + h; line += 1) {
          assert.ok(!occupied.has(`${column},${line}`), `${file}: ${title} overlaps another panel`);
          occupied.add(`${column},${line}`);
        }
      }
    }
  });
});

test('every panel has a description, and a text for the case without data', () => {
  eachPanel((panel, where) => {
    assert.match(panel.description ?? '', /^\w.{30,}\.$/s, where);
    assert.match(panel.fieldConfig?.defaults?.noValue ?? '', /^[a-zA-Z].{8,}/, where);
    if (panel.type === 'stat')
      assert.ok((panel.fieldConfig?.defaults?.thresholds?.steps ?? []).length > 0, where);
  });
});

test('each bar covers exactly its interval, so bars do not overlap', () => {
  let bars = 0;
  eachPanel((panel, where) => {
    const { drawStyle } = (panel.fieldConfig?.defaults?.custom ?? {}) as { drawStyle?: string };
    for (const { expr, interval } of targetsOf(panel)) {
      const growth = expr.includes('offset $__interval');
      assert.equal(growth, drawStyle === 'bars', where);
      assert.equal(interval, growth ? '1m' : undefined, where);
      if (growth) assert.doesNotMatch(expr, /\$__rate_interval|\$__range/, where);
      if (growth) bars += 1;
    }
  });
  assert.ok(bars > 20);
});

test('every query has an id and uses the selected data source', () => {
  eachPanel((panel, where) => {
    const targets = targetsOf(panel);
    assert.ok(targets.length > 0, where);
    assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, where);
    for (const { refId, datasource } of targets) {
      assert.match(refId, /^[A-Z]$/, where);
      assert.deepEqual(datasource, { type: 'prometheus', uid: '${datasource}' }, where);
    }
    assert.deepEqual(panel.datasource, { type: 'prometheus', uid: '${datasource}' }, where);
  });
});

test('variables and annotations use the selected data source', () => {
  each((dashboard, file) => {
    const variables = (dashboard.templating?.list ?? []).filter(({ type }) => type === 'query');
    for (const { name, datasource } of [...variables, ...(dashboard.annotations?.list ?? [])])
      assert.deepEqual(datasource, { type: 'prometheus', uid: '${datasource}' }, `${file}: ${name}`);
  });
});

test('columns of tables have the names that links use, and come from existing labels or queries', () => {
  let tables = 0;
  eachPanel((panel, where) => {
    if (panel.type !== 'table') return;
    tables += 1;
    const organize = panel.transformations?.find(({ id }) => id === 'organize')?.options as {
      renameByName: Record<string, string>;
    };
    const titles = Object.values(organize.renameByName);
    assert.equal(new Set(titles).size, titles.length, where);
    for (const title of all(panel, /\$\{__data\.fields\.(\w+)\}/g))
      assert.ok(titles.includes(title), `${where}: ${title}`);
    const linked = all(panel, /\$\{__data\.fields\.(\w+)\}/g);
    const inCells = (panel.fieldConfig?.overrides ?? []).map(({ matcher, properties }) => {
      assert.ok(titles.includes(matcher.options as string), `${where}: ${matcher.options}`);
      return [matcher.options, properties.find(({ id }) => id === 'noValue')?.value];
    });
    // Otherwise Grafana shows the text for the empty table in each empty cell. A link uses what the cell shows.
    assert.deepEqual(
      inCells.sort(),
      titles.map((title) => [title, linked.includes(title) ? '' : '–']).sort(),
      where,
    );
    const targets = targetsOf(panel);
    const queries = targets.map(({ refId }) => (targets.length > 1 ? `Value #${refId}` : 'Value'));
    const labels = targets.flatMap(({ expr }) => readQuery(withAll(expr)).grouped);
    for (const from of Object.keys(organize.renameByName)) {
      assert.ok(queries.includes(from) || labels.includes(from), `${where}: ${from}`);
    }
  });
  assert.ok(tables > 8);
});

test('dashboards link to each other, to the live page of a host and to existing runbooks', () => {
  const uids = entries.map(([, { uid }]) => uid);
  each((dashboard, file) => {
    const links = dashboard.links ?? [];
    const others = uids.filter((uid) => uid !== dashboard.uid);
    const family = links.slice(0, 4);
    assert.deepEqual(
      family.map(({ url }) => /^\/d\/([\w-]+)\?/.exec(url ?? '')?.[1]).sort(),
      others.sort(),
      file,
    );
    for (const { url = '', keepTime, title } of family) {
      assert.ok(keepTime, `${file}: ${title}`);
      const hosts = title === 'Host' ? '' : '&${instance:queryparam}';
      assert.ok(url.endsWith(`?\${datasource:queryparam}&\${cluster:queryparam}${hosts}`), `${file}: ${url}`);
    }
    for (const uid of all(dashboard, /"\/d\/([\w-]+)/g)) assert.ok(uids.includes(uid), `${file}: ${uid}`);
    const pages = all(dashboard, /"\$\{runbooks\}(\w+\.md|\$\{__data\.fields\.Alert\}\.md)"/g);
    assert.ok(pages.length > 0, file);
    for (const page of pages.filter((name) => !name.startsWith('$'))) {
      assert.ok(existsSync(join(REPOSITORY, 'docs/runbooks', page)), `${file}: ${page}`);
    }
    const carried = all(dashboard.panels, /"(\/d\/[^"]+)"/g);
    assert.ok(carried.length > 0, file);
    for (const url of carried) {
      // Two clusters may have the same address, so a link to a host must set the cluster too.
      const host = /&var-instance=\$\{__(data\.fields\.Host|field\.labels\.instance)\}/.exec(url)?.[1];
      const own = host?.startsWith('data') ? '__data.fields.Cluster' : '__field.labels.cluster';
      const cluster = host === undefined ? '${cluster:queryparam}' : `var-cluster=\${${own}}`;
      assert.ok(
        url.includes(`?\${__url_time_range}&\${datasource:queryparam}&${cluster}`),
        `${file}: ${url}`,
      );
    }
    assert.ok(all(dashboard, /"(http:\/\/\$\{[^"]+)"/g).length > 0, `${file} leads to no live page`);
  });
});

test('links to the API of a host use existing routes and parameters', async (t) => {
  const busy = busyHost();
  await busy.daemon.start();
  t.after(() => busy.daemon.stop());
  const values: Record<string, string> = {
    kind: 'foreign_vm',
    reason: 'revoked',
    Reason: 'revoked',
    Importer: 'vgem',
    importer: 'vgem',
    Device: '0000:41:00.0',
    device: 'unknown',
    Host: busy.address,
    instance: busy.address,
  };
  const links = new Set<string>();
  each((dashboard) => {
    for (const url of all(dashboard, /"(http:\/\/\$\{[^"]+)"/g)) links.add(url);
  });
  assert.ok(links.size > 15);
  for (const link of links) {
    const url = link.replaceAll(
      /\$\{(?:__field\.labels\.|__data\.fields\.)?(\w+)\}/g,
      (_, name) => values[name] ?? '?',
    );
    assert.equal((await fetch(url)).status, 200, url);
  }
});

test('panels of imports use the device of the buffer, if the dashboard has a variable for it', () => {
  /** Durations have no device, so a share of all calls has none either. The state of a host covers all its devices. */
  const OF_ALL = ['rejections.json: Share of rejected stages', 'host.json: Rejected import stages'];
  const followed: string[] = [];
  eachPanel((panel, where, dashboard) => {
    if (!variablesOf(dashboard).includes('device') || OF_ALL.includes(where)) return;
    for (const { expr } of targetsOf(panel)) {
      if (
        !/vfio_dmabuf_(imports|import_rejections|mapping_routes|detaches|unmaps)_total|vfio_dmabuf_attachments/.test(
          expr,
        )
      )
        continue;
      assert.match(expr, /device=~"\$device"/, `${where}: ${expr}`);
      followed.push(where);
    }
  });
  for (const title of [
    'rejections.json: Rejected, by device',
    'privacy.json: Private exports that were rejected',
  ])
    assert.ok(followed.includes(title), title);
});

test('rejected private exports are shown by device, importer, stage and reason', () => {
  const [panel] = panelsOf(dashboards.get('privacy.json') as Dashboard).filter(
    ({ title }) => title === 'Private exports that were rejected',
  );
  const [{ expr = '' } = {}] = targetsOf(panel as Panel);
  assert.match(expr, /^sum by \(cluster, instance, device, importer, stage, reason\)/);
  assert.match(expr, /vfio_dmabuf_import_rejections_total\{[^}]*privacy="private"/);
});

test('every dashboard shows at the top which hosts are not traced, and marks revocations and blind times', () => {
  each((dashboard, file) => {
    const first = panelsOf(dashboard).filter(({ gridPos }) => gridPos?.y === 0);
    assert.ok(
      first.some((panel) => JSON.stringify(panel).includes('vfio_dmabuf_up')),
      file,
    );
    const names = (dashboard.annotations?.list ?? []).map(({ name }) => name);
    assert.deepEqual(names, ['Revocations', 'Blind times'], file);
  });
});

test('every metric of the catalogue is on a panel, or NOT_SHOWN has the reason', () => {
  const known = catalogue();
  const shown = new Set<string>();
  eachPanel((panel) => {
    for (const { expr } of targetsOf(panel)) {
      for (const { metric } of readQuery(withAll(expr)).selectors) {
        assert.ok(!metric.includes(':'), `${metric} is recorded: dashboards must work without the rules`);
        const family = known.get(metric)?.family;
        if (family !== undefined) shown.add(family);
      }
    }
  });
  const names = families().map(({ name }) => name);
  assert.ok(names.length > 45);
  assert.deepEqual(names.filter((name) => !shown.has(name)).sort(), Object.keys(NOT_SHOWN).sort());
});
