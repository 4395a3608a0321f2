import { parser } from '@prometheus-io/lezer-promql';

export interface Selector {
  metric: string;
  matched: string[];
}
export interface Query {
  selectors: Selector[];
  /** Labels of by, without, on, ignoring, group_left and group_right. */
  grouped: string[];
}

/** Reads a query.
 * @throws if Prometheus' grammar finds an error */
export function readQuery(expr: string): Query {
  const query: Query = { selectors: [], grouped: [] };
  let inGrouping = -1;
  parser.parse(expr).iterate({
    enter(node) {
      const text = expr.slice(node.from, node.to);
      if (node.type.isError)
        throw new Error(`does not parse at "${expr.slice(node.from, node.from + 20)}": ${expr}`);
      if (node.name === 'VectorSelector') query.selectors.push({ metric: '', matched: [] });
      if (node.name === 'GroupingLabels') inGrouping = node.to;
      const selector = query.selectors.at(-1);
      if (node.name === 'Identifier' && selector !== undefined) selector.metric = text;
      if (node.name !== 'LabelName') return;
      if (node.from < inGrouping) query.grouped.push(text);
      else selector?.matched.push(text);
    },
  });
  return query;
}
