//! The process itself, under the names that the former controller used for nginx. Read from `/proc`; what is not there
//! (another system, or hidden) stays 0.

use std::{fs, num::NonZeroU64};

use prometheus::{IntCounter, IntGauge, Registry};

use super::meters::{counter, register};

/// Shows what the kernel knows of the process.
pub(super) struct Process {
    cpu: prometheus::Counter,
    resident: IntGauge,
    virtual_: IntGauge,
    start: IntGauge,
    read: IntCounter,
    written: IntCounter,
    threads: IntGauge,
    open_files: IntGauge,
}

/// The unit of times in `/proc/<pid>/stat`: 1/100 s on every architecture that we run on (`USER_HZ`).
const TICKS_PER_SECOND: NonZeroU64 = NonZeroU64::new(100).unwrap();

// === impl Process ===

impl Process {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, help| register(registry, IntGauge::new(name, help));
        gauge("nginx_ingress_controller_nginx_process_num_procs", "Processes: always 1").set(1);
        Self {
            cpu: register(
                registry,
                prometheus::Counter::new(
                    "nginx_ingress_controller_nginx_process_cpu_seconds_total",
                    "CPU time of the process, user and system",
                ),
            ),
            resident: gauge(
                "nginx_ingress_controller_nginx_process_resident_memory_bytes",
                "Resident memory of the process",
            ),
            virtual_: gauge(
                "nginx_ingress_controller_nginx_process_virtual_memory_bytes",
                "Virtual memory of the process",
            ),
            start: gauge(
                "nginx_ingress_controller_nginx_process_oldest_start_time_seconds",
                "When the process began, in seconds since 1970",
            ),
            read: counter(
                registry,
                "nginx_ingress_controller_nginx_process_read_bytes_total",
                "Bytes that the process read from storage",
            ),
            written: counter(
                registry,
                "nginx_ingress_controller_nginx_process_write_bytes_total",
                "Bytes that the process wrote to storage",
            ),
            threads: gauge("serin_threads", "Threads of the process"),
            open_files: gauge("serin_open_files", "Open files and sockets of the process"),
        }
    }

    /// Brings what is shown up to date.
    pub(super) fn update(&mut self) {
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
            self.cpu.reset();
            #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are three million years")]
            self.cpu.inc_by(stat.cpu_ticks as f64 / TICKS_PER_SECOND.get() as f64);
            self.threads.set(signed(stat.threads));
            self.virtual_.set(signed(stat.virtual_bytes));
            if let Some(boot) = fs::read_to_string("/proc/stat").ok().and_then(|text| field(&text, "btime")) {
                self.start.set(signed(boot + stat.start_ticks / TICKS_PER_SECOND));
            }
        }
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            self.resident.set(signed(field(&status, "VmRSS:").unwrap_or(0) * 1024));
        }
        if let Ok(io) = fs::read_to_string("/proc/self/io") {
            for (counter, name) in [(&self.read, "read_bytes:"), (&self.written, "write_bytes:")] {
                counter.reset();
                counter.inc_by(field(&io, name).unwrap_or(0));
            }
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            self.open_files.set(signed(files.count() as u64));
        }
    }
}

/// What is used of `/proc/self/stat`.
#[derive(PartialEq, Eq, Debug)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
}

// === impl Stat ===

impl Stat {
    /// Reads the line (proc_pid_stat(5)). The name in it may hold spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        // What follows the name is counted from field 3.
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: number(14)? + number(15)?,
            threads: number(20)?,
            start_ticks: number(22)?,
            virtual_bytes: number(23)?,
        })
    }
}

/// The number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_the_fields() {
        let text =
            "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 12 0 12345 987654 321 18446744073709551615";
        let stat = Stat { cpu_ticks: 300, threads: 12, start_ticks: 12345, virtual_bytes: 987_654 };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("7 (cut off"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn numbers_are_found_by_the_name_of_their_line() {
        let text = "VmPeak:\t  10 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(field(text, "VmRSS:"), Some(2048));
        assert_eq!(field(text, "VmSwap:"), None);
    }
}
