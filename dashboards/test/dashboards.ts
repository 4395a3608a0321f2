import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Dashboard, Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { REPOSITORY } from './catalogue.ts';

export const JSON_FOLDER = join(REPOSITORY, 'dashboards/json');

export interface Target {
  refId: string;
  expr: string;
  /** The shortest step. */
  interval?: string;
  datasource: { type: string; uid: string };
}

/** The committed dashboards, by the name of their file. */
export function readDashboards(): Map<string, Dashboard> {
  const files = readdirSync(JSON_FOLDER).sort();
  return new Map(
    files.map((file) => [file, JSON.parse(readFileSync(join(JSON_FOLDER, file), 'utf8')) as Dashboard]),
  );
}

export const panelsOf = (dashboard: Dashboard): Panel[] =>
  (dashboard.panels ?? []).filter((panel): panel is Panel => panel.type !== 'row');

export const targetsOf = (panel: Panel): Target[] => (panel.targets ?? []) as unknown as Target[];

/** A query with every variable at All. */
export const withAll = (expr: string): string =>
  substituted(expr, Object.fromEntries(VARIABLES.map((name) => [name, '.*'])));

const VARIABLES = ['cluster', 'instance', 'device', 'privacy', 'vm', 'importer', 'stage', 'reason'];

/** A query as Grafana would send it: with its variables and windows set. */
export function substituted(expr: string, values: Readonly<Record<string, string>>): string {
  const builtIn = { __range: '1h', __rate_interval: '1m', __interval: '1m' };
  const all: Record<string, string> = { ...builtIn, ...values };
  return expr.replaceAll(/\$(?:\{(\w+)\}|(\w+))/g, (_, braced?: string, bare?: string) => {
    const value = all[braced ?? bare ?? ''];
    if (value === undefined) throw new Error(`no value for ${braced ?? bare} in ${expr}`);
    return value;
  });
}
