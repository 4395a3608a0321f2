import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  type AnnotationQuery,
  AnnotationQueryBuilder,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  type Panel,
  RowBuilder,
  type VariableModel,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { familyLinks, linkBuilder, type ValueLink } from './links.ts';
import { type DashboardName, TAG, TITLES, UIDS } from './names.ts';
import type { AnyPanel } from './panels.ts';
import { grownBy } from './queries.ts';
import { clusterVariable, DATASOURCE, datasourceVariable, runbooksVariable } from './variables.ts';

const WIDTH = 24;

export interface Section {
  /** The first section has none, so that its panels are at the top. */
  title?: string;
  panels: readonly AnyPanel[];
}

export interface DashboardSpec {
  name: DashboardName;
  description: string;
  /** After data source and cluster. */
  variables: readonly { build(): VariableModel }[];
  /** The matchers in the queries of annotations. */
  matchers: string;
  links?: readonly ValueLink[];
  sections: readonly Section[];
}

/** Puts the panels into rows from left to right. Their ids are their positions, so links to a panel do not change. */
export function createDashboard(spec: DashboardSpec): Dashboard {
  const builder = new DashboardBuilder(`VFIO dma-buf / ${TITLES[spec.name]}`)
    .uid(UIDS[spec.name])
    .description(spec.description)
    .tags([TAG])
    .time({ from: 'now-3h', to: 'now' })
    .refresh('30s')
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .variables([datasourceVariable(), clusterVariable(), ...spec.variables, runbooksVariable()])
    .annotations(annotations(spec.matchers))
    .links([...familyLinks(spec.name), ...(spec.links ?? []).map(linkBuilder)]);
  let id = 0;
  let y = 0;
  for (const { title, panels } of spec.sections) {
    if (title !== undefined) {
      id += 1;
      const row = new RowBuilder(title).id(id).gridPos({ x: 0, y, w: WIDTH, h: 1 });
      builder.withRow(row);
      y += 1;
    }
    let x = 0;
    let height = 0;
    for (const panel of panels) {
      const built: Panel = panel.build();
      const { w, h } = built.gridPos ?? { w: WIDTH, h: 8 };
      if (x + w > WIDTH) {
        x = 0;
        y += height;
        height = 0;
      }
      id += 1;
      builder.withPanel({ build: () => ({ ...built, id, gridPos: { x, y, w, h } }) });
      x += w;
      height = Math.max(height, h);
    }
    y += height;
  }
  return builder.build();
}

function annotations(matchers: string): Builder<AnnotationQuery>[] {
  const annotation = (name: string, color: string, expr: string, title: string, text: string) =>
    shownAnnotation(
      new AnnotationQueryBuilder()
        .name(name)
        .datasource(DATASOURCE)
        .enable(true)
        .iconColor(color)
        .expr(expr)
        .step('60s')
        .titleFormat(title)
        .textFormat(text)
        .tagKeys('instance,device'),
    );
  return [
    annotation(
      'Revocations',
      'orange',
      `${grownBy('cluster, instance, device, cause', 'vfio_dmabuf_revocations_total', matchers, '2m')} > 0`,
      'Memory of {{device}} was revoked',
      '{{cause}} on {{instance}}',
    ),
    annotation(
      'Blind times',
      'red',
      `vfio_dmabuf_up{${matchers}} == 0`,
      'Nothing is traced on {{instance}}',
      'Counters keep their last value.',
    ),
  ];
}

/** The SDK would put the switch of an annotation into a menu, as it does with links. */
function shownAnnotation(annotation: AnnotationQueryBuilder): Builder<AnnotationQuery> {
  return {
    build: () => {
      const { placement: _placement, ...rest } = annotation.build();
      return rest;
    },
  };
}
