//! Metrics as a scrape sees them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::*;

/// A series of a scrape: its name, its labels, its value.
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Scrapes and parses. Every series must be there once, below the type of its family.
fn scrape(metrics: &Metrics) -> Vec<Series> {
    let mut text = Vec::new();
    metrics.write_to(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let mut family = String::new();
    let mut all = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            family = kind.split(' ').next().unwrap().to_owned();
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(series.to_owned()), "twice: {series}");
        assert!(series.starts_with(&family), "{series} is not below its type");
        let (name, labels) = series.split_once('{').unwrap();
        let labels = labels.strip_suffix('}').unwrap();
        let labels = labels
            .split_terminator("\",")
            .map(|pair| {
                let (name, value) = pair.split_once("=\"").unwrap();
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            })
            .collect();
        all.push(Series { name: name.to_owned(), labels, value: value.parse().unwrap() });
    }
    all
}

/// The sum of what a query like `name{label="value",label!=""}` selects.
fn sum(series: &[Series], name: &str, matches: impl Fn(&dyn Fn(&str) -> String) -> bool) -> f64 {
    let chosen = series.iter().filter(|series| {
        series.name == name && matches(&|label| series.labels.get(label).cloned().unwrap_or_default())
    });
    chosen.map(|series| series.value).sum()
}

fn labels() -> RouteLabels {
    RouteLabels {
        namespace: "shop".into(),
        ingress: "web".into(),
        service: "web".into(),
        path: "/cart".into(),
        host: "shop.example".into(),
    }
}

fn sample(status: u16, millis: u64) -> Sample {
    let time = Some(Duration::from_millis(millis));
    Sample {
        status,
        request_bytes: 55,
        sent_bytes: 2_000,
        request_time: Duration::from_millis(millis + 1),
        upstream: UpstreamTimes { connect: Some(Duration::ZERO), header: time, response: time },
        ..Sample::default()
    }
}

#[test]
fn flaggers_queries_find_the_canary() {
    let (metrics, workers) = Metrics::new(&Settings { workers: 2, ..Settings::default() });
    let route = RouteState::new(&metrics, labels(), [Arc::from("shop-web-canary-80")]);
    let success = |series: &[Series], ok: bool| {
        sum(series, "nginx_ingress_controller_requests", |label| {
            label("namespace") == "shop"
                && label("ingress") == "web"
                && !label("canary").is_empty()
                && (!ok || !label("status").starts_with('5'))
        })
    };
    let duration = |series: &[Series], part: &str| {
        sum(series, &format!("nginx_ingress_controller_response_duration_seconds_{part}"), |label| {
            label("namespace") == "shop" && label("ingress") == "web" && !label("canary").is_empty()
        })
    };

    route.record(&workers[0], Some("shop-web-canary-80"), &sample(200, 900));
    let before = scrape(&metrics);
    for (worker, status) in [(0, 200), (1, 200), (1, 500), (0, 404)] {
        route.record(&workers[worker], Some("shop-web-canary-80"), &sample(status, 20));
    }
    for _ in 0..10 {
        route.record(&workers[0], None, &sample(503, 5_000));
    }
    let after = scrape(&metrics);

    // request-success-rate: 3 of 4.
    let rate = (success(&after, true) - success(&before, true)) / (success(&after, false) - success(&before, false));
    assert_eq!(rate * 100.0, 75.0);
    // request-duration, in milliseconds.
    let seconds = duration(&after, "sum") - duration(&before, "sum");
    let mean = seconds / (duration(&after, "count") - duration(&before, "count")) * 1000.0;
    assert!((mean - 20.0).abs() < 1e-9, "{mean}");
}

#[test]
fn labels_of_requests_are_those_of_ingress_nginx() {
    let settings = Settings { namespace: "ingress".into(), pod: "serin-0".into(), ..Settings::default() };
    let (metrics, workers) = Metrics::new(&settings);
    let route = RouteState::new(&metrics, labels(), []);
    route.record(&workers[0], None, &Sample { method: Method::of(b"POST"), ..sample(201, 3) });
    let series = scrape(&metrics);
    let requests = series.iter().find(|series| series.name == "nginx_ingress_controller_requests").unwrap();
    let expected = [
        ("canary", ""),
        ("controller_class", "k8s.io/ingress-nginx"),
        ("controller_namespace", "ingress"),
        ("controller_pod", "serin-0"),
        ("host", "shop.example"),
        ("ingress", "web"),
        ("method", "POST"),
        ("namespace", "shop"),
        ("path", "/cart"),
        ("service", "web"),
        ("status", "201"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(requests.labels, BTreeMap::from(expected));
    assert_eq!(requests.value, 1.0);
}

#[test]
fn histograms_have_the_buckets_of_ingress_nginx() {
    let (metrics, workers) = Metrics::new(&Settings::default());
    let route = RouteState::new(&metrics, labels(), []);
    route.record(&workers[0], None, &sample(200, 20));
    let series = scrape(&metrics);
    let buckets = |name: &str| -> Vec<(String, f64)> {
        let name = format!("nginx_ingress_controller_{name}_bucket");
        let of_name = series.iter().filter(|series| series.name == name);
        of_name.map(|series| (series.labels["le"].clone(), series.value)).collect()
    };
    let expected = |bounds: &str, first: &str| -> Vec<(String, f64)> {
        let mut reached = 0.0;
        let pairs = bounds.split(' ').map(|bound| {
            if bound == first {
                reached = 1.0;
            }
            (bound.to_owned(), reached)
        });
        pairs.collect()
    };
    let times = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf";
    let lengths = "10 20 30 40 50 60 70 80 90 100 +Inf";
    assert_eq!(buckets("request_duration_seconds"), expected(times, "0.025"));
    assert_eq!(buckets("response_duration_seconds"), expected(times, "0.025"));
    assert_eq!(buckets("header_duration_seconds"), expected(times, "0.025"));
    assert_eq!(buckets("connect_duration_seconds"), expected(times, "0.005"));
    assert_eq!(buckets("request_size"), expected(lengths, "60"));
    assert_eq!(buckets("response_size"), expected(lengths, "+Inf"));
    assert_eq!(buckets("bytes_sent"), expected("10 100 1000 10000 100000 1e+06 1e+07 +Inf", "10000"));
    let of = |name: &str| sum(&series, &format!("nginx_ingress_controller_{name}"), |_| true);
    assert_eq!(of("response_duration_seconds_sum"), 0.02);
    assert_eq!(of("bytes_sent_sum"), 2_000.0);
    assert_eq!(of("request_size_count"), 1.0);
}

#[test]
fn times_of_the_endpoint_that_are_left_out_make_no_series() {
    let (metrics, workers) = Metrics::new(&Settings::default());
    let route = RouteState::new(&metrics, labels(), []);
    route.record(&workers[0], None, &Sample { upstream: UpstreamTimes::default(), ..sample(502, 1) });
    let series = scrape(&metrics);
    assert!(!series.iter().any(|series| series.name.contains("response_duration_seconds")));
    assert!(series.iter().any(|series| series.name.contains("request_duration_seconds")));
}

#[test]
fn statuses_become_classes_and_hosts_leave_where_asked_for() {
    let settings = Settings { per_host: false, status_classes: true, ..Settings::default() };
    let (metrics, workers) = Metrics::new(&settings);
    for host in ["a.example", "b.example"] {
        let route = RouteState::new(&metrics, RouteLabels { host: host.into(), ..labels() }, []);
        for status in [500, 503, 200] {
            route.record(&workers[0], None, &sample(status, 1));
        }
    }
    let series = scrape(&metrics);
    let requests = series.iter().filter(|series| series.name == "nginx_ingress_controller_requests");
    let requests: Vec<_> = requests.map(|series| (&*series.labels["status"], series.value)).collect();
    assert_eq!(requests, [("2xx", 2.0), ("5xx", 4.0)]);
    assert!(series.iter().all(|series| !series.labels.contains_key("host")));
}

#[test]
fn a_route_that_comes_back_goes_on_counting() {
    let (metrics, workers) = Metrics::new(&Settings::default());
    for _ in 0..3 {
        let route = RouteState::new(&metrics, labels(), [Arc::from("shop-web-canary-80")]);
        route.record(&workers[0], Some("shop-web-canary-80"), &sample(200, 1));
    }
    assert_eq!(sum(&scrape(&metrics), "nginx_ingress_controller_requests", |_| true), 3.0);
}

#[test]
fn series_of_routes_that_are_gone_leave_after_a_while() {
    let (metrics, workers) = Metrics::new(&Settings { linger: Duration::from_secs(60), ..Settings::default() });
    let route = RouteState::new(&metrics, labels(), []);
    route.record(&workers[0], None, &sample(200, 1));
    let count_at = |now| {
        let mut text = Vec::new();
        metrics.0.requests.write_to(now, &mut text).unwrap();
        String::from_utf8(text).unwrap().matches("controller_requests{").count()
    };
    let now = Instant::now();
    assert_eq!(count_at(now + Duration::from_secs(1_000)), 1, "it is in use");
    drop(route);
    assert_eq!(count_at(now + Duration::from_secs(2_000)), 1, "it is first missed here");
    assert_eq!(count_at(now + Duration::from_secs(2_059)), 1);
    assert_eq!(count_at(now + Duration::from_secs(2_060)), 0);
}

#[test]
fn a_canary_that_was_not_announced_is_counted_all_the_same() {
    let (metrics, workers) = Metrics::new(&Settings::default());
    let route = RouteState::new(&metrics, labels(), []);
    route.record(&workers[0], Some("shop-new-80"), &sample(200, 1));
    let of_canary = |label: &dyn Fn(&str) -> String| label("canary") == "shop-new-80";
    assert_eq!(sum(&scrape(&metrics), "nginx_ingress_controller_requests", of_canary), 1.0);
}

#[test]
fn unknown_methods_are_other() {
    for (method, label) in
        [("GET", "GET"), ("DELETE", "DELETE"), ("PROPFIND", "OTHER"), ("get", "OTHER"), ("", "OTHER")]
    {
        assert_eq!(Method::of(method.as_bytes()).as_str(), label, "{method:?}");
    }
}

#[test]
fn values_of_labels_are_escaped() {
    let (metrics, workers) = Metrics::new(&Settings::default());
    let route = RouteState::new(&metrics, RouteLabels { path: "/a\"b\\c\nd".into(), ..labels() }, []);
    route.record(&workers[0], None, &sample(200, 1));
    let mut text = Vec::new();
    metrics.write_to(&mut text).unwrap();
    assert!(String::from_utf8(text).unwrap().contains(r#"path="/a\"b\\c\nd""#));
}

#[test]
fn connections_are_counted_by_state() {
    let (metrics, workers) = Metrics::new(&Settings { workers: 2, ..Settings::default() });
    let (first, second) = (workers[0].accept(), workers[1].accept());
    let third = workers[1].accept();
    first.enter(ConnectionState::Waiting);
    second.enter(ConnectionState::Writing);
    second.enter(ConnectionState::Waiting);
    drop(third);
    let series = scrape(&metrics);
    let of = |name: &str, state: &str| {
        sum(&series, &format!("nginx_ingress_controller_nginx_process_{name}"), |label| label("state") == state)
    };
    let states = ["active", "reading", "writing", "waiting"].map(|state| of("connections", state));
    assert_eq!(states, [2.0, 0.0, 0.0, 2.0]);
    let events = ["accepted", "handled", "active"].map(|event| of("connections_total", event));
    assert_eq!(events, [3.0, 3.0, 0.0], "what is active is no sum");
}

#[test]
fn refusals_and_counts_of_all_workers_are_summed() {
    let (metrics, workers) = Metrics::new(&Settings { workers: 2, ..Settings::default() });
    for worker in &workers {
        worker.count(Count::Retries);
        worker.count_refusal("no_route");
        worker.count_refusal("body_too_large");
        worker.count_refusal("no_route");
    }
    for _ in 0..2 {
        let series = scrape(&metrics);
        assert_eq!(sum(&series, "serin_retries_total", |_| true), 2.0);
        assert_eq!(sum(&series, "serin_refusals_total", |label| label("refusal") == "no_route"), 4.0);
        assert_eq!(sum(&series, "serin_refusals_total", |_| true), 6.0);
    }
}

#[test]
fn meters_are_shown() {
    let (metrics, _) = Metrics::new(&Settings::default());
    let meters = metrics.meters();
    meters.published(7, std::time::UNIX_EPOCH + Duration::from_secs(1_000));
    meters.published(8, std::time::UNIX_EPOCH + Duration::from_secs(2_000));
    meters.problems.replace([(["Conflict", "error"], 3), (["NotFound", "error"], 1)]);
    meters.problems.replace([(["NotFound", "error"], 2)]);
    meters.log_lines_dropped.with(["full"]).add(5);
    let series = scrape(&metrics);
    let of = |name: &str| sum(&series, name, |_| true);
    assert_eq!((of("serin_table_number"), of("serin_publishes_total")), (8.0, 2.0));
    assert_eq!(of("nginx_ingress_controller_success"), 2.0);
    assert_eq!(of("nginx_ingress_controller_config_last_reload_successful_timestamp_seconds"), 2_000.0);
    assert_eq!(of("serin_problems"), 2.0);
    assert_eq!(of("serin_access_log_lines_dropped_total"), 5.0);
    assert_eq!(of("nginx_ingress_controller_build_info"), 1.0);
}

#[test]
fn a_slow_reader_holds_up_no_other() {
    /// Scrapes by itself whenever it is written to.
    struct Reader(Metrics);

    impl io::Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write_to(&mut io::sink())?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (metrics, workers) = Metrics::new(&Settings::default());
    let route = RouteState::new(&metrics, labels(), []);
    route.record(&workers[0], None, &sample(200, 1));
    // A lock that is held while the reader is waited for would never be free here.
    metrics.write_to(&mut io::BufWriter::new(Reader(metrics.clone()))).unwrap();
}

#[test]
fn the_process_is_seen() {
    let (metrics, _) = Metrics::new(&Settings::default());
    let series = scrape(&metrics);
    let of = |name: &str| sum(&series, &format!("nginx_ingress_controller_nginx_process_{name}"), |_| true);
    assert!(of("resident_memory_bytes") > 1e6);
    assert!(of("virtual_memory_bytes") >= of("resident_memory_bytes"));
    assert!(of("oldest_start_time_seconds") > 1.6e9);
    assert_eq!(of("num_procs"), 1.0);
}
