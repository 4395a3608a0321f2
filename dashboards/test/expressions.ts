import { RULE_FILES, readRules } from './catalogue.ts';
import { panelsOf, readDashboards, substituted, targetsOf } from './dashboards.ts';

export interface Expression {
  of: 'panel' | 'annotation' | 'rule';
  where: string;
  expr: string;
}

/** Every expression of every panel and annotation as Grafana would send it, and of every rule. _Host_ shows `instance`. */
export function expressions(instance: string): Expression[] {
  const found: Expression[] = [];
  for (const [file, dashboard] of readDashboards()) {
    const variables = (dashboard.templating?.list ?? []).map(({ name }) => [name, '.*']);
    const values = { ...Object.fromEntries(variables), ...(file === 'host.json' ? { instance } : {}) };
    const add = (of: Expression['of'], name: string, expr: string) =>
      found.push({ of, where: `${file}: ${name}`, expr: substituted(expr, values) });
    for (const panel of panelsOf(dashboard))
      for (const { refId, expr } of targetsOf(panel)) add('panel', `${panel.title}: ${refId}`, expr);
    for (const { name, expr = '' } of dashboard.annotations?.list ?? [])
      add('annotation', `annotation ${name}`, expr);
  }
  for (const file of RULE_FILES) {
    for (const { record, alert, expr } of readRules(file))
      found.push({ of: 'rule', where: `${file}: ${record ?? alert}`, expr });
  }
  return found;
}
