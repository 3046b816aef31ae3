//! What it costs to start over a large cluster.

use std::time::{Duration, Instant};

use tokio::time;

use crate::{
    Result,
    control_plane::ControlPlane,
    process::{cpu_seconds, memory},
};

/// How long after it is ready a gateway's memory is looked at again.
const AFTER: Duration = Duration::from_secs(5);

/// How large a cluster is: there are as many Services and slices as Ingresses.
pub struct Size {
    pub ingresses: usize,
    pub secrets: usize,
    /// The ways to read Secrets that are tried, and how many MB each may take at most: half as much again as it did when
    /// this was written.
    pub ways: &'static [(&'static str, f64)],
}

pub const SIZES: [Size; 2] = [
    Size { ingresses: 10_000, secrets: 2_000, ways: &[("cluster", 340.0), ("named", 650.0)] },
    Size { ingresses: 30_000, secrets: 10_000, ways: &[("cluster", 950.0)] },
];

/// What a start cost.
pub struct Cost {
    pub ready: Duration,
    /// Seconds until then.
    pub cpu: f64,
    /// The most memory that it had, and what it had some seconds later, in MB.
    pub peak: f64,
    pub after: f64,
}

/// Starts a gateway that reads Secrets in a way, and ends it.
pub async fn start(control_plane: &ControlPlane, way: &str) -> Result<Cost> {
    let began = Instant::now();
    let gateway = crate::start(control_plane, &["--secrets", way]).await?;
    let ready = began.elapsed();
    let process = gateway.process.id();
    let cpu = cpu_seconds(process)?;
    time::sleep(AFTER).await;
    let megabytes = |field| Ok::<_, Box<dyn std::error::Error>>(memory(process, field)? / 1024.0);
    Ok(Cost { ready, cpu, peak: megabytes("VmHWM:")?, after: megabytes("VmRSS:")? })
}
