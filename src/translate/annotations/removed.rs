//! Annotations that ingress-nginx itself had removed before it was retired.

use super::{Annotation, Group::Removed, Kind};

pub(super) const RECORDS: &[&Annotation] = &[
    &ENABLE_INFLUXDB,
    &INFLUXDB_MEASUREMENT,
    &INFLUXDB_PORT,
    &INFLUXDB_HOST,
    &INFLUXDB_SERVER_NAME,
    &SECURE_VERIFY_CA_SECRET,
    &GLOBAL_RATE_LIMIT,
    &GLOBAL_RATE_LIMIT_WINDOW,
    &GLOBAL_RATE_LIMIT_KEY,
    &GLOBAL_RATE_LIMIT_IGNORED_CIDRS,
];

const WHY: &str = "ingress-nginx removed it too";
const INFLUX: &str = "Remove it, and read the metrics at `/metrics`";
const RATE: &str = "Remove it";

static ENABLE_INFLUXDB: Annotation = Annotation::new("enable-influxdb", Removed, Kind::Bool)
    .default("false")
    .refused(WHY, INFLUX)
    .doc("Sent measurements to InfluxDB.");

static INFLUXDB_MEASUREMENT: Annotation =
    Annotation::new("influxdb-measurement", Removed, Kind::Text).refused(WHY, INFLUX).doc("What InfluxDB called them.");

static INFLUXDB_PORT: Annotation =
    Annotation::new("influxdb-port", Removed, Kind::Number).refused(WHY, INFLUX).doc("The port of InfluxDB.");

static INFLUXDB_HOST: Annotation =
    Annotation::new("influxdb-host", Removed, Kind::Text).refused(WHY, INFLUX).doc("The address of InfluxDB.");

static INFLUXDB_SERVER_NAME: Annotation = Annotation::new("influxdb-server-name", Removed, Kind::Text)
    .refused(WHY, INFLUX)
    .doc("The name of this server in InfluxDB.");

static SECURE_VERIFY_CA_SECRET: Annotation = Annotation::new("secure-verify-ca-secret", Removed, Kind::Object)
    .refused(WHY, "Write `proxy-ssl-secret`")
    .doc("The Secret with the authority of the endpoints' certificates.");

static GLOBAL_RATE_LIMIT: Annotation =
    Annotation::new("global-rate-limit", Removed, Kind::Number).refused(WHY, RATE).doc("A limit over all replicas.");

static GLOBAL_RATE_LIMIT_WINDOW: Annotation =
    Annotation::new("global-rate-limit-window", Removed, Kind::Text).refused(WHY, RATE).doc("The time of that limit.");

static GLOBAL_RATE_LIMIT_KEY: Annotation = Annotation::new("global-rate-limit-key", Removed, Kind::Template)
    .refused(WHY, RATE)
    .doc("What that limit was counted by.");

static GLOBAL_RATE_LIMIT_IGNORED_CIDRS: Annotation =
    Annotation::new("global-rate-limit-ignored-cidrs", Removed, Kind::Networks)
        .refused(WHY, RATE)
        .doc("The networks that were not limited.");
