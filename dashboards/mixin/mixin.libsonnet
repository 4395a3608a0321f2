// Dashboards, recording rules and alerts for users of jsonnet, in the layout of a monitoring mixin. They come from the
// files next to this folder. _config has what differs between Prometheus servers.
{
  local mixin = self,

  _config+:: {
    // The selector of the scrape job, for the rules that need it.
    selector: 'job="vfio-dmabuf-tracer"',
    // The URL of the runbooks, with a slash at the end. null: the hosts serve them.
    runbookBase: null,
    // Tags of all dashboards.
    dashboardTags: ['vfio-dmabuf-tracer'],
  },

  local rules(text) = std.parseYaml(std.strReplace(text, 'job="vfio-dmabuf-tracer"', mixin._config.selector)).groups,

  // The file of a runbook. Two alerts can have the same one.
  local page(url) =
    local parts = std.split(std.strReplace(url, '{{ end }}', '/'), '/');
    parts[std.length(parts) - 1],

  local alerts(text) = [
    group {
      rules: [
        rule + (
          if mixin._config.runbookBase == null then {}
          else { annotations+: { runbook_url: mixin._config.runbookBase + page(rule.annotations.runbook_url) } }
        )
        for rule in group.rules
      ],
    }
    for group in rules(text)
  ],

  local dashboard(json) = json {
    tags: mixin._config.dashboardTags,
    templating+: {
      list: [
        if variable.name != 'runbooks' || mixin._config.runbookBase == null then variable
        else {
          type: 'constant',
          name: 'runbooks',
          hide: 2,
          query: mixin._config.runbookBase,
          current: { selected: true, text: mixin._config.runbookBase, value: mixin._config.runbookBase },
        }
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
    groups+: alerts(importstr '../rules/alerts-tracer.yaml') + alerts(importstr '../rules/alerts-sharing.yaml'),
  },
}
