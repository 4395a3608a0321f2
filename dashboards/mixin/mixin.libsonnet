// Dashboards, recording rules and alerts for users of jsonnet, in the layout of a monitoring mixin. They are the
// files beside this one; what a Prometheus may want otherwise is in _config.
{
  local mixin = self,

  _config+:: {
    // The selector of the scrape job, wherever a rule has to know it.
    selector: 'job="vfio-dmabuf-tracer"',
    // Where the runbooks are, with a slash at the end.
    runbookBase: 'docs/runbooks/',
    // Tags of all dashboards.
    dashboardTags: ['vfio-dmabuf-tracer'],
  },

  local rules(text) = std.parseYaml(std.strReplace(std.strReplace(text, 'job="vfio-dmabuf-tracer"', mixin._config.selector), 'docs/runbooks/', mixin._config.runbookBase)).groups,

  local dashboard(json) = json {
    tags: mixin._config.dashboardTags,
    templating+: {
      list: [
        variable + (
          if variable.name == 'runbooks' then {
            query: mixin._config.runbookBase,
            current+: { text: mixin._config.runbookBase, value: mixin._config.runbookBase },
          } else {}
        )
        for variable in json.templating.list
      ],
    },
  },

  grafanaDashboards+:: {
    'vfio-dmabuf-fleet.json': dashboard(import '../json/fleet.json'),
    'vfio-dmabuf-host.json': dashboard(import '../json/host.json'),
    'vfio-dmabuf-private.json': dashboard(import '../json/privacy.json'),
    'vfio-dmabuf-rejections.json': dashboard(import '../json/rejections.json'),
    'vfio-dmabuf-tracer.json': dashboard(import '../json/tracer.json'),
  },

  prometheusRules+:: {
    groups+: rules(importstr '../rules/recording.yaml'),
  },

  prometheusAlerts+:: {
    groups+: rules(importstr '../rules/alerts-tracer.yaml') + rules(importstr '../rules/alerts-sharing.yaml'),
  },
}
