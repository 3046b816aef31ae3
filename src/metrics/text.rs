//! Prometheus text, version 0.0.4.
//!
//! What is counted rarely is written by the prometheus crate; the series of requests, of which there may be very many,
//! are written straight from their sums.

use std::{collections::HashMap, io, time::Duration};

use prometheus::{Encoder, Registry, TextEncoder, proto::MetricFamily};

use super::{
    Method, Settings,
    histogram::{Bound, LENGTHS, SENT, TIMES},
    requests::{CellsTotal, SeriesKey},
};

/// The labels that every series has.
#[derive(Clone, Debug)]
pub(super) struct ConstLabels {
    namespace: String,
    class: String,
    pod: String,
}

/// The unit of a sum, as a part of what is shown.
#[derive(Clone, Copy)]
enum Unit {
    Nanoseconds,
    Bytes,
}

// === impl ConstLabels ===

impl ConstLabels {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { namespace, class, pod, .. } = settings.clone();
        Self { namespace, class, pod }
    }

    /// A registry that gives every series these labels.
    pub(super) fn registry(&self) -> Registry {
        let labels = HashMap::from([
            ("controller_namespace".to_owned(), self.namespace.clone()),
            ("controller_class".to_owned(), self.class.clone()),
            ("controller_pod".to_owned(), self.pod.clone()),
        ]);
        Registry::new_custom(None, Some(labels)).expect("a registry without a prefix is always well formed")
    }

    /// All labels of a series of requests, sorted, as they stand between the braces.
    pub(super) fn of_requests(&self, key: &SeriesKey, method: Method, status: &str, per_host: bool) -> String {
        let route = &key.route;
        let mut text = String::with_capacity(256);
        push_label(&mut text, "canary", &key.canary);
        push_label(&mut text, "controller_class", &self.class);
        push_label(&mut text, "controller_namespace", &self.namespace);
        push_label(&mut text, "controller_pod", &self.pod);
        if per_host {
            push_label(&mut text, "host", &route.host);
        }
        push_label(&mut text, "ingress", &route.ingress);
        push_label(&mut text, "method", method.as_str());
        push_label(&mut text, "namespace", &route.namespace);
        push_label(&mut text, "path", &route.path);
        push_label(&mut text, "service", &route.service);
        push_label(&mut text, "status", status);
        text
    }
}

/// Writes what the prometheus crate gathered.
pub(super) fn write_families(families: &[MetricFamily], mut out: &mut dyn io::Write) -> io::Result<()> {
    TextEncoder::new().encode(families, &mut out).map_err(io::Error::other)
}

/// Writes the series of requests: pairs of labels and sums.
pub(super) fn write_requests(rows: &[(String, CellsTotal)], out: &mut dyn io::Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let name = "nginx_ingress_controller_requests";
    writeln!(out, "# HELP {name} The total number of client requests\n# TYPE {name} counter")?;
    for (labels, total) in rows {
        writeln!(out, "{name}{{{labels}}} {}", total.request_time.count())?;
    }
    HISTOGRAMS.iter().try_for_each(|histogram| histogram.write(rows, out))
}

/// How a histogram of the cells is shown.
struct Shown {
    name: &'static str,
    help: &'static str,
    unit: Unit,
    /// The bounds of the buckets that were counted.
    counted: &'static [Bound],
    /// Those of them that are shown.
    shown: &'static [Bound],
    /// Counts and sum.
    of: fn(&CellsTotal) -> (&[u64], u64),
}

const HISTOGRAMS: [Shown; 7] = [
    Shown {
        name: "nginx_ingress_controller_request_duration_seconds",
        help: "From the first byte of a request to the last byte of its answer",
        unit: Unit::Nanoseconds,
        counted: &TIMES,
        shown: &TIMES,
        of: |total| total.request_time.parts(),
    },
    Shown {
        name: "nginx_ingress_controller_response_duration_seconds",
        help: "How long the endpoint took until the end of its answer, where only one was asked",
        unit: Unit::Nanoseconds,
        counted: &TIMES,
        shown: &TIMES,
        of: |total| total.response_time.parts(),
    },
    Shown {
        name: "nginx_ingress_controller_header_duration_seconds",
        help: "How long the endpoint took until the head of its answer, where only one was asked",
        unit: Unit::Nanoseconds,
        counted: &TIMES,
        shown: &TIMES,
        of: |total| total.header_time.parts(),
    },
    Shown {
        name: "nginx_ingress_controller_connect_duration_seconds",
        help: "How long connecting to the endpoint took, where only one was asked",
        unit: Unit::Nanoseconds,
        counted: &TIMES,
        shown: &TIMES,
        of: |total| total.connect_time.parts(),
    },
    Shown {
        name: "nginx_ingress_controller_request_size",
        help: "Bytes of a request: line, head and body",
        unit: Unit::Bytes,
        counted: SENT.split_at(LENGTHS).0,
        shown: SENT.split_at(LENGTHS).0,
        of: |total| total.request_bytes.parts(),
    },
    Shown {
        name: "nginx_ingress_controller_response_size",
        help: "Bytes of an answer: head and body",
        unit: Unit::Bytes,
        counted: &SENT,
        shown: SENT.split_at(LENGTHS).0,
        of: |total| total.sent_bytes.parts(),
    },
    Shown {
        name: "nginx_ingress_controller_bytes_sent",
        help: "Bytes of an answer: head and body, in wide buckets",
        unit: Unit::Bytes,
        counted: &SENT,
        shown: &[SENT[0], SENT[9], SENT[10], SENT[11], SENT[12], SENT[13], SENT[14]],
        of: |total| total.sent_bytes.parts(),
    },
];

// === impl Shown ===

impl Shown {
    fn write(&self, rows: &[(String, CellsTotal)], out: &mut dyn io::Write) -> io::Result<()> {
        let Self { name, help, .. } = self;
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        for (labels, total) in rows {
            let (buckets, sum) = (self.of)(total);
            let count: u64 = buckets.iter().sum();
            if count == 0 {
                continue;
            }
            let mut below = 0;
            for (bucket, (bound, label)) in buckets.iter().zip(self.counted) {
                below += bucket;
                if self.shown.iter().any(|(shown, _)| shown == bound) {
                    writeln!(out, "{name}_bucket{{{labels},le=\"{label}\"}} {below}")?;
                }
            }
            writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
            match self.unit {
                Unit::Nanoseconds => {
                    writeln!(out, "{name}_sum{{{labels}}} {}", Duration::from_nanos(sum).as_secs_f64())?;
                }
                Unit::Bytes => writeln!(out, "{name}_sum{{{labels}}} {sum}")?,
            }
            writeln!(out, "{name}_count{{{labels}}} {count}")?;
        }
        Ok(())
    }
}

/// Appends `name="value"`, after a comma where it is not the first.
fn push_label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
}
