// Words of the Metrics view.
export default {
  'metrics.title': 'Metrics', 'metrics.sub': 'Rate, errors and duration by service and cluster',
  'metrics.window': 'Window', 'metrics.minutes': 'last {n} min', 'metrics.clusters': 'Clusters', 'metrics.split': 'Split', 'metrics.whole': 'Together', 'metrics.service': 'Service',
  'metrics.rate': 'Request rate', 'metrics.rate.unit': 'req/s', 'metrics.errors': 'Error rate', 'metrics.errors.unit': '%', 'metrics.latency': 'Latency', 'metrics.latency.unit': 'ms',
  'metrics.percentile': '{name}', 'metrics.all': 'All', 'metrics.unreached': 'Not reached',
  'metrics.chart': '{service} {measure}, last {n} min. {latest}. Arrow keys move along the time, Enter shows the requests of that moment.', 'metrics.chart.value': '{name} {value}', 'metrics.chart.none': 'no value',
  'metrics.read': '{from}–{to} · {values}', 'metrics.collecting': 'Collecting data (one point every 5 s)', 'metrics.failed': 'The metrics could not be read: {reason}', 'metrics.retry': 'Try again',
  'metrics.table': 'As a table: last {n} min', 'metrics.table.service': 'Service', 'metrics.table.cluster': 'Cluster', 'metrics.table.requests': 'Requests', 'metrics.table.rps': 'req/s', 'metrics.table.errors': 'Error rate', 'metrics.table.retries': 'Retries', 'metrics.table.ejections': 'Ejections', 'metrics.table.flags': 'Response flags',
  'metrics.source': 'The same figures as istio_requests_total and istio_request_duration_milliseconds (reporter=source) of the api-gateway sidecar. Percentiles are computed from that histogram.', 'metrics.unknown': 'Unknown: istiod of {clusters} does not answer',
  'metrics.marks': 'Applied changes, faults, ejections and restarts are vertical lines',
};
