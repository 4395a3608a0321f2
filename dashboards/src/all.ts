import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { fleet } from './fleet.ts';
import { host } from './host.ts';
import type { DashboardName } from './names.ts';
import { privacy } from './privacy.ts';
import { rejections } from './rejections.ts';
import { tracer } from './tracer.ts';

const DASHBOARDS: Readonly<Record<DashboardName, () => Dashboard>> = {
  fleet,
  host,
  privacy,
  rejections,
  tracer,
};

/** The text of each dashboard, by the name of its file. */
export function dashboardFiles(): Map<string, string> {
  return new Map(
    Object.entries(DASHBOARDS).map(([name, build]) => [
      `${name}.json`,
      `${JSON.stringify(build(), null, 2)}\n`,
    ]),
  );
}
