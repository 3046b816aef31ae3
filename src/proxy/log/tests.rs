//! Lines to the letter, and what happens to them when nobody reads.

use std::{
    io::{self, Write},
    net::Ipv4Addr,
    sync::{Arc, Condvar, Mutex},
    time::UNIX_EPOCH,
};

use super::*;
use crate::{
    key::{Hostname, ObjectKey, PathType},
    metrics::{Metrics, Settings},
};

const LIMIT: Duration = Duration::from_secs(30);

/// Keeps what is written, once it is let.
#[derive(Clone, Default)]
struct Paper(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    written: Vec<u8>,
    held: bool,
    broken: bool,
    waiting: bool,
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().written.clone()).unwrap()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    /// Waits until a writer is held up.
    fn wait_for_writer(&self) {
        let state = self.0.0.lock().unwrap();
        let (state, _) = self.0.1.wait_timeout_while(state, LIMIT, |state| !state.waiting).unwrap();
        assert!(state.waiting, "nobody writes");
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.0.lock().unwrap();
        state.waiting = true;
        self.0.1.notify_all();
        let mut state = self.0.1.wait_while(state, |state| state.held).unwrap();
        state.waiting = false;
        if state.broken {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        state.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn entry<'a>() -> Entry<'a> {
    Entry {
        client: Ipv4Addr::new(192, 0, 2, 7).into(),
        authorization: None,
        now: UNIX_EPOCH + Duration::from_millis(1_795_258_792_345),
        request: RequestLine::Read { method: b"GET", target: b"/cart?user=7", protocol: "HTTP/1.1" },
        host: b"shop.example",
        status: 200,
        body_bytes: 612,
        sent_bytes: 850,
        referer: None,
        user_agent: Some(b"curl/8.5.0"),
        request_bytes: 83,
        request_time: Duration::from_micros(12_900),
        upstream: "shop-web-80",
        canary: "",
        tries: &[],
        request_id: b"c0ffee00c0ffee00c0ffee00c0ffee00",
        route: None,
        service: "",
        table: 3,
        refusal: None,
        trace_id: None,
    }
}

fn try_of(port: u16, status: Option<u16>, millis: Option<u64>) -> Try {
    Try {
        endpoint: SocketAddr::from(([10, 0, 0, 5], port)),
        status,
        body_bytes: if status == Some(200) { 612 } else { 0 },
        connect_time: None,
        header_time: None,
        response_time: millis.map(Duration::from_millis),
    }
}

/// The lines of these entries.
fn lines(format: Format, entries: &[Entry<'_>]) -> String {
    let paper = Paper::default();
    let (metrics, _) = Metrics::new(&Settings::default());
    let (writer, mut logs) = start(format, Box::new(paper.clone()), 1, metrics.meters()).unwrap();
    for entry in entries {
        logs[0].record(entry);
    }
    drop(logs);
    assert!(writer.finish(LIMIT));
    paper.text()
}

#[test]
fn the_nginx_line_is_that_of_ingress_nginx() {
    let tries = [try_of(8080, Some(200), Some(12))];
    assert_eq!(
        lines(Format::Nginx, &[Entry { tries: &tries, ..entry() }]),
        "192.0.2.7 - - [21/Nov/2026:10:59:52 +0000] \"GET /cart?user=7 HTTP/1.1\" 200 612 \"-\" \"curl/8.5.0\" 83 0.012 \
         [shop-web-80] [] 10.0.0.5:8080 612 0.012 200 c0ffee00c0ffee00c0ffee00c0ffee00\n"
    );
}

#[test]
fn tries_are_lists_and_a_canary_is_named() {
    let tries = [try_of(8080, Some(502), Some(0)), try_of(8081, None, None), try_of(8082, Some(200), Some(1_012))];
    let line = lines(Format::Nginx, &[Entry { tries: &tries, canary: "shop-web-canary-80", ..entry() }]);
    let end = "[shop-web-80] [shop-web-canary-80] 10.0.0.5:8080, 10.0.0.5:8081, 10.0.0.5:8082 0, 0, 612 \
               0.000, -, 1.012 502, -, 200 c0ffee00c0ffee00c0ffee00c0ffee00\n";
    assert!(line.ends_with(end), "{line}");
}

#[test]
fn what_is_missing_is_a_dash_or_empty_as_in_nginx() {
    let line = lines(
        Format::Nginx,
        &[Entry {
            request: RequestLine::Raw(b"\x16\x03\x01"),
            status: 400,
            body_bytes: 150,
            user_agent: None,
            upstream: "",
            request_id: b"",
            client: "2001:db8::1".parse().unwrap(),
            ..entry()
        }],
    );
    assert_eq!(
        line,
        "2001:db8::1 - - [21/Nov/2026:10:59:52 +0000] \"\\x16\\x03\\x01\" 400 150 \"-\" \"-\" 83 0.012 [] [] - - - - -\n"
    );
}

#[test]
fn strangers_cannot_forge_a_line() {
    let line = lines(
        Format::Nginx,
        &[Entry {
            user_agent: Some(b"a\" 200 \"\n\\"),
            referer: Some(b""),
            authorization: Some(b"Basic YSJiOnNlY3JldA=="),
            ..entry()
        }],
    );
    assert!(line.contains(r#" "" "a\x22 200 \x22\x0A\x5C" "#), "{line}");
    assert!(line.starts_with(r"192.0.2.7 - a\x22b ["), "{line}");
    assert_eq!(line.lines().count(), 1);
    assert!(!line.contains("secret"));
}

#[test]
fn the_json_line_has_the_same_facts_and_ours() {
    let route = RouteId {
        host: Hostname::parse("shop.example").unwrap(),
        path: "/cart".into(),
        path_type: PathType::Prefix,
        ingress: ObjectKey::ingress("shop", "web"),
    };
    let tries = [try_of(8080, Some(502), None), try_of(8081, Some(200), Some(12))];
    let line = lines(
        Format::Json,
        &[Entry {
            tries: &tries,
            canary: "shop-web-canary-80",
            authorization: Some("Basic w6k6cA==".as_bytes()),
            referer: Some(b"https://a.example/\"\xff"),
            route: Some(&route),
            service: "web",
            refusal: Some("body_too_large"),
            trace_id: Some(b"0af7651916cd43dd8448eb211c80319c"),
            ..entry()
        }],
    );
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        read,
        serde_json::json!({
            "time": "2026-11-21T10:59:52.345Z",
            "remote_addr": "192.0.2.7",
            "remote_user": "é",
            "request_method": "GET",
            "request_uri": "/cart?user=7",
            "server_protocol": "HTTP/1.1",
            "host": "shop.example",
            "status": 200,
            "body_bytes_sent": 612,
            "bytes_sent": 850,
            "http_referer": "https://a.example/\"\u{fffd}",
            "http_user_agent": "curl/8.5.0",
            "request_length": 83,
            "request_time": 0.0129,
            "proxy_upstream_name": "shop-web-80",
            "proxy_alternative_upstream_name": "shop-web-canary-80",
            "upstream": [
                {"addr": "10.0.0.5:8080", "status": 502, "response_length": 0},
                {"addr": "10.0.0.5:8081", "status": 200, "response_length": 612, "response_time": 0.012},
            ],
            "req_id": "c0ffee00c0ffee00c0ffee00c0ffee00",
            "namespace": "shop",
            "ingress": "web",
            "service": "web",
            "route_host": "shop.example",
            "route_path": "/cart",
            "route_path_type": "Prefix",
            "table": 3,
            "refusal": "body_too_large",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        })
    );
}

#[test]
fn off_writes_nothing() {
    assert_eq!(lines(Format::Off, &[entry()]), "");
    assert!(!Log::off().is_on());
}

#[test]
fn lines_of_all_workers_stay_whole() {
    let paper = Paper::default();
    let (metrics, _) = Metrics::new(&Settings::default());
    let (writer, logs) = start(Format::Nginx, Box::new(paper.clone()), 3, metrics.meters()).unwrap();
    std::thread::scope(|scope| {
        for mut log in logs {
            scope.spawn(move || {
                for _ in 0..100 {
                    log.record(&entry());
                }
            });
        }
    });
    assert!(writer.finish(LIMIT));
    let text = paper.text();
    assert_eq!(text.lines().count(), 300);
    assert!(text.lines().all(|line| line.starts_with("192.0.2.7 ") && line.ends_with("c0ffee00")));
}

#[test]
fn a_flush_brings_lines_out_while_the_worker_lives() {
    let paper = Paper::default();
    let (metrics, _) = Metrics::new(&Settings::default());
    let (_writer, mut logs) = start(Format::Nginx, Box::new(paper.clone()), 1, metrics.meters()).unwrap();
    logs[0].record(&entry());
    logs[0].flush();
    let state = paper.0.0.lock().unwrap();
    let (state, _) = paper.0.1.wait_timeout_while(state, LIMIT, |state| state.written.is_empty()).unwrap();
    assert!(state.written.ends_with(b"\n"));
}

#[test]
fn when_nobody_reads_lines_are_dropped_and_counted_and_none_is_cut() {
    let paper = Paper::default();
    paper.set(|state| state.held = true);
    let (metrics, _) = Metrics::new(&Settings::default());
    let (writer, mut logs) = start(Format::Nginx, Box::new(paper.clone()), 1, metrics.meters()).unwrap();
    let mut log = logs.remove(0);
    log.record(&entry());
    log.flush();
    paper.wait_for_writer();

    // Much more than all buffers hold.
    let written = 20_000;
    for _ in 1..written {
        log.record(&entry());
    }
    drop(log);
    let dropped = metrics.meters().log_lines_dropped.with(["full"]).value();
    assert!(dropped > 0);

    paper.set(|state| state.held = false);
    assert!(writer.finish(LIMIT));
    let text = paper.text();
    assert_eq!(text.lines().count() as u64 + dropped, written);
    assert!(text.lines().all(|line| line.starts_with("192.0.2.7 ") && line.ends_with("c0ffee00")));
    assert_eq!(metrics.meters().log_lines_dropped.with(["write"]).value(), 0);
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let paper = Paper::default();
    paper.set(|state| state.broken = true);
    let (metrics, _) = Metrics::new(&Settings::default());
    let (writer, mut logs) = start(Format::Json, Box::new(paper.clone()), 1, metrics.meters()).unwrap();
    logs[0].record(&entry());
    logs[0].record(&entry());
    drop(logs);
    assert!(writer.finish(LIMIT));
    assert_eq!(metrics.meters().log_lines_dropped.with(["write"]).value(), 2);
}

#[test]
fn a_reader_that_hangs_does_not_hold_up_the_end() {
    let paper = Paper::default();
    paper.set(|state| state.held = true);
    let (metrics, _) = Metrics::new(&Settings::default());
    let (writer, mut logs) = start(Format::Nginx, Box::new(paper.clone()), 1, metrics.meters()).unwrap();
    logs[0].record(&entry());
    drop(logs);
    assert!(!writer.finish(Duration::from_millis(10)));
    paper.set(|state| state.held = false);
}

#[test]
fn formats_have_names() {
    for format in [Format::Off, Format::Nginx, Format::Json] {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert!("text".parse::<Format>().is_err());
}
