use super::*;

fn requests(cluster: &str, code: &str, flags: &str, value: u64) -> String {
    format!(
        "istio_requests_total{{reporter=\"source\",source_workload=\"api-gateway\",destination_service_name=\"user-service\",destination_cluster=\"{cluster}\",response_flags=\"{flags}\",response_code=\"{code}\"}} {value}\n"
    )
}

fn bucket(bound: &str, value: u64) -> String {
    format!(
        "istio_request_duration_milliseconds_bucket{{reporter=\"source\",destination_service_name=\"user-service\",destination_cluster=\"ctx1\",response_code=\"200\",le=\"{bound}\"}} {value}\n"
    )
}

fn scrape(pod: &str, text: String) -> Vec<Scrape> {
    vec![Scrape { pod: pod.to_owned(), text: Some(text) }]
}

fn row<'a>(view: &'a SeriesView, cluster: Option<&str>) -> &'a TableRow {
    view.table.iter().find(|row| row.cluster.as_deref() == cluster).unwrap()
}

#[test]
fn counts_are_what_came_between_two_scrapes() {
    let series = Series::default();
    series.take(100_000, scrape("a", requests("ctx1", "200", "-", 40)));
    series.take(105_000, scrape("a", requests("ctx1", "200", "-", 47) + &requests("unknown", "503", "UH", 2)));
    let view = series.view(110_000, 1);
    assert_eq!(row(&view, Some("ctx1")).requests, 7.0);
    assert_eq!((row(&view, None).errors, row(&view, None).flags["UH"]), (2.0, 2.0));
    assert_eq!((view.steps, view.known_s), (12, 10));
    let line = view.lines.iter().find(|line| line.cluster.is_some()).unwrap();
    assert_eq!(&line.requests[8..], [None, Some(0.0), Some(7.0), None], "a step without a scrape is unknown, not zero");
}

#[test]
fn a_process_that_starts_anew_counts_from_zero() {
    let series = Series::default();
    series.take(100_000, scrape("a", requests("ctx1", "200", "-", 40)));
    series.take(105_000, scrape("a", requests("ctx1", "200", "-", 3)));
    series.take(110_000, scrape("b", requests("ctx1", "200", "-", 5)));
    assert_eq!(row(&series.view(115_000, 1), Some("ctx1")).requests, 8.0);
}

#[test]
fn a_pod_that_does_not_answer_leaves_a_gap() {
    let series = Series::default();
    series.take(100_000, scrape("a", requests("ctx1", "200", "-", 1)));
    series.take(105_000, vec![Scrape { pod: "a".into(), text: None }]);
    series.take(110_000, scrape("a", requests("ctx1", "200", "-", 9)));
    let view = series.view(115_000, 1);
    assert_eq!(&view.lines[0].requests[8..], [Some(0.0), None, Some(8.0), None], "what happened meanwhile is counted when it is known");
}

#[test]
fn percentiles_are_those_of_histogram_quantile() {
    let series = Series::default();
    let text =
        |five: u64, ten: u64, all: u64| requests("ctx1", "200", "-", all) + &bucket("5", five) + &bucket("10", ten) + &bucket("+Inf", all);
    series.take(100_000, scrape("a", text(0, 0, 0)));
    series.take(105_000, scrape("a", text(50, 90, 100)));
    let view = series.view(110_000, 1);
    let row = row(&view, Some("ctx1"));
    assert_eq!((row.p50, row.p95), (Some(5.0), Some(10.0)));
    series.take(110_000, scrape("a", text(50, 90, 100)));
    assert_eq!(series.view(115_000, 1).lines[0].p50.last(), Some(&None), "no request has no percentile");
}

#[test]
fn retries_and_ejections_belong_to_their_subset() {
    let text = |retries: u64, ejections: u64| {
        format!(
            "envoy_cluster_upstream_rq_retry{{cluster_name=\"outbound|8081|ctx2|user-service.theater-msa.svc.cluster.local\"}} {retries}\nenvoy_cluster_outlier_detection_ejections_enforced_total{{cluster_name=\"outbound|8081|ctx2|user-service.theater-msa.svc.cluster.local\"}} {ejections}\n"
        )
    };
    let series = Series::default();
    series.take(100_000, scrape("a", text(1, 0)));
    series.take(105_000, scrape("a", text(4, 1)));
    let view = series.view(110_000, 1);
    assert_eq!((row(&view, Some("ctx2")).retries, row(&view, Some("ctx2")).ejections), (3.0, 1.0));
}

#[test]
fn the_last_hour_is_kept_and_no_more() {
    let series = Series::default();
    for step in 0..(STEPS as u64 + 50) {
        series.take(1_000_000 + step * STEP_MS, scrape("a", requests("ctx1", "200", "-", step)));
    }
    assert_eq!(series.store().steps.len(), STEPS);
    let view = series.view(1_000_000 + (STEPS as u64 + 50) * STEP_MS, 60);
    assert_eq!((view.steps, view.known_s), (STEPS, 3595));
}

#[test]
fn odd_lines_are_passed_over() {
    let text = "# HELP x\nistio_requests_total 5\nistio_requests_total{reporter=\"source\nistio_requests_total{reporter=\"source\",destination_service_name=\"user-service\"} NaNa\n\n}{\"\n";
    assert_eq!(exposition::samples(text), []);
    let escaped = "istio_requests_total{reporter=\"source\",x=\"a\\\"},b\\\\\",destination_service_name=\"user-service\",response_code=\"200\"} 3 1700000000\n";
    let samples = exposition::samples(escaped);
    assert_eq!((samples.len(), samples[0].value), (1, 3.0));
}
