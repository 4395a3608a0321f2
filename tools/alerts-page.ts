import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { markdownTable } from './markdown-table.ts';

export const ALERTS_PAGE = join(import.meta.dirname, '../docs/alerts.md');
const RULES = join(import.meta.dirname, '../dashboards/rules');
const GROUPS = { 'alerts-sharing.yaml': 'Shared memory', 'alerts-tracer.yaml': 'The tracer' } as const;
const RANK = ['critical', 'warning', 'info'];

interface AlertRule {
  alert: string;
  for?: string;
  labels: { severity: string };
  annotations: { runbook_url: string };
}

/** The texts of `# Fires when ...` above the alerts of a rule file, by alert. */
function firesWhen(text: string): Map<string, string> {
  return new Map(
    [...text.matchAll(/^ +# Fires when (.+)\.\n(?: +#.*\n)* +- alert: (\w+)$/gm)].map(
      ([, when = '', alert = '']) => [alert, when],
    ),
  );
}

function table(file: string): string {
  const text = readFileSync(join(RULES, file), 'utf8');
  const { groups } = parse(text) as { groups: { rules: AlertRule[] }[] };
  const fires = firesWhen(text);
  const rows = groups
    .flatMap(({ rules }) => rules)
    .sort((a, b) => RANK.indexOf(a.labels.severity) - RANK.indexOf(b.labels.severity))
    .map((rule) => {
      const when = fires.get(rule.alert);
      if (when === undefined) throw new Error(`${file}: no "# Fires when ..." above ${rule.alert}`);
      const page = /(\w+)\.md$/.exec(rule.annotations.runbook_url)?.[1];
      return [
        `\`${rule.alert}\``,
        rule.labels.severity,
        when,
        rule.for ?? 'at once',
        `[${page?.replace('VfioDmabuf', '')}](runbooks/${page}.md)`,
      ];
    });
  return markdownTable([['alert', 'severity', 'fires when', 'after', 'runbook'], ...rows]);
}

/** docs/alerts.md, generated from dashboards/rules. */
export function alertsPage(): string {
  const sections = Object.entries(GROUPS).map(([file, title]) => `## ${title}\n\n${table(file)}`);
  return `# Alerts

Written by \`npm run docs\` from the rules in \`dashboards/rules\`; a test proves that it is up to date.

An alert fires when its condition has lasted for the time in the column _after_. An alert about a time span,
such as "in the last 10 minutes", resolves that long after the last occurrence. [dashboards](../dashboards/README.md#rules-and-alerts) explains how to load
the rules and what the severities mean. [alert-drill.md](alert-drill.md) shows how to try them.

${sections.join('\n')}`;
}
