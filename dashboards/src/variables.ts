import {
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  VariableHide,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';

export const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };

export const datasourceVariable = (): DatasourceVariableBuilder =>
  new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus');

export interface ValuesOf {
  name: string;
  label: string;
  description: string;
  /** `label_values(SELECTOR, LABEL)` */
  selector: string;
  of: string;
  /** One value at a time. Otherwise several, by default all. */
  single?: boolean;
}

/** A variable with the values of a label. All is `.*`, which also matches series without that label. */
export function valuesOf({
  name,
  label,
  description,
  selector,
  of,
  single = false,
}: ValuesOf): QueryVariableBuilder {
  const query = `label_values(${selector}, ${of})`;
  const variable = new QueryVariableBuilder(name)
    .label(label)
    .description(description)
    .datasource(DATASOURCE)
    .query({ query, refId: `variable-${name}` })
    .definition(query)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc);
  if (single) return variable.multi(false).includeAll(false);
  return variable
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current({ selected: true, text: ['All'], value: ['$__all'] });
}

export const clusterVariable = (): QueryVariableBuilder =>
  valuesOf({
    name: 'cluster',
    label: 'Cluster',
    description: 'The label cluster that your Prometheus adds. Leave it at All if there is none.',
    selector: 'vfio_dmabuf_build_info',
    of: 'cluster',
  });

export const hostVariable = (single = false): QueryVariableBuilder =>
  valuesOf({
    name: 'instance',
    label: 'Host',
    description: 'The address at which Prometheus scrapes the tracer of the host.',
    selector: 'vfio_dmabuf_build_info{cluster=~"$cluster"}',
    of: 'instance',
    single,
  });

export const deviceVariable = (matchers: string): QueryVariableBuilder =>
  valuesOf({
    name: 'device',
    label: 'Device',
    description: 'PCI address of a device that exports or imports memory.',
    selector: `vfio_dmabuf_device_info{${matchers}}`,
    of: 'device',
  });

export const privacyVariable = (selector: string): QueryVariableBuilder =>
  valuesOf({
    name: 'privacy',
    label: 'Privacy',
    description:
      'What the export of a buffer declares: private, shared, or undeclared if the kernel has no private exports.',
    selector,
    of: 'privacy',
  });

export const vmVariable = (matchers: string): QueryVariableBuilder =>
  valuesOf({
    name: 'vm',
    label: 'VM',
    description: 'The VM of a device. Panels that use it leave out devices without a selected VM.',
    selector: `vfio_dmabuf_vm_info{${matchers}}`,
    of: 'vm',
  });

/** The URL of the runbooks, with a slash at the end. Any host that answers serves them. The mixin can set another URL. */
export const runbooksVariable = (): QueryVariableBuilder => {
  const hosts = 'vfio_dmabuf_build_info{cluster=~"$cluster"}';
  const query = `query_result(label_replace(${hosts}, "base", "http://$1/runbooks/", "instance", "(.+)"))`;
  return new QueryVariableBuilder('runbooks')
    .label('Runbooks')
    .description('The URL of the runbooks, with a slash at the end; see dashboards/README.md.')
    .datasource(DATASOURCE)
    .query({ query, refId: 'variable-runbooks' })
    .definition(query)
    .regex('/base="([^"]+)"/')
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .hide(VariableHide.HideVariable)
    .multi(false)
    .includeAll(false);
};
