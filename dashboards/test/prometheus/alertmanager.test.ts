import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { ensurePackages } from '../../../lab/src/host-packages.ts';
import { collectorLine, ready, starting } from '../../../server/test/fixtures/stream-lines.ts';
import { RULE_FILES, RULES } from '../catalogue.ts';
import { busyHost } from '../live-host.ts';
import { OwnServer, startAlertmanager, startPrometheus, until } from '../servers.ts';

interface Alert {
  status: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

test('Alertmanager notifies its receiver about a blind tracer, and about the end', {
  timeout: 300_000,
}, async (t) => {
  await ensurePackages(['prometheus', 'prometheus-alertmanager'], console.log);
  const received: Alert[] = [];
  const receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      received.push(...(JSON.parse(body) as { alerts: Alert[] }).alerts);
      response.end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const host = busyHost();
  const alertmanager = new OwnServer();
  const prometheus = new OwnServer();
  t.after(async () => {
    await prometheus.stop();
    await alertmanager.stop();
    await host.daemon.stop();
    receiver.close();
  });
  await host.daemon.start();
  await startAlertmanager(
    alertmanager,
    `route:
  receiver: test
  group_by: [alertname]
  group_wait: 100ms
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: test
    webhook_configs:
      - { url: 'http://127.0.0.1:${(receiver.address() as AddressInfo).port}/', send_resolved: true }
`,
  );
  // The committed rules, with `for` shortened.
  const rules = RULE_FILES.map((file) => {
    const path = join(prometheus.folder, file);
    writeFileSync(path, readFileSync(join(RULES, file), 'utf8').replaceAll(/^( +for:) .*$/gm, '$1 1s'));
    return path;
  });
  await startPrometheus(
    prometheus,
    `global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [${rules.map((path) => `'${path}'`).join(', ')}]
alerting:
  alertmanagers:
    - static_configs: [{ targets: ['${alertmanager.url.replace('http://', '')}'] }]
scrape_configs:
  - job_name: vfio-dmabuf-tracer
    static_configs: [{ targets: ['${host.address}'], labels: { cluster: north } }]
`,
  );
  const blind = (status: string) =>
    received.find((alert) => alert.labels.alertname === 'VfioDmabufTracerBlind' && alert.status === status);
  const inAlertmanager = async (): Promise<boolean> => {
    const filter = new URLSearchParams({ filter: 'alertname="VfioDmabufTracerBlind"', active: 'true' });
    const answer = await fetch(`${alertmanager.url}/api/v2/alerts?${filter}`);
    return ((await answer.json()) as unknown[]).length > 0;
  };

  await until(
    'the host to be scraped',
    async () => (await prometheus.query('vfio_dmabuf_up == 1')).length > 0,
  );
  assert.equal(blind('firing'), undefined);
  host.quiet = true;
  const ended = { generation: 1, state: 'exited', reason: 'crashed', message: 'ended' } as const;
  host.write(collectorLine('child', { t: host.now, ...ended }));
  await until(
    'the alert to be received',
    async () => blind('firing') !== undefined && (await inAlertmanager()),
  );
  const { labels, annotations } = blind('firing') ?? assert.fail();
  assert.deepEqual(labels, {
    alertname: 'VfioDmabufTracerBlind',
    cluster: 'north',
    instance: host.address,
    job: 'vfio-dmabuf-tracer',
    severity: 'warning',
  });
  assert.match(annotations.description ?? '', new RegExp(`has traced ${host.address} .*calls are missed`));
  assert.equal(annotations.runbook_url, `http://${host.address}/runbooks/VfioDmabufTracerBlind.md`);
  assert.match(await (await fetch(annotations.runbook_url ?? '')).text(), /^# VfioDmabufTracerBlind\n/);
  assert.equal(blind('resolved'), undefined);

  host.write(starting(host.now, 2), ready(host.now + 1));
  await until(
    'its end to be received',
    async () => blind('resolved') !== undefined && !(await inAlertmanager()),
  );
});
