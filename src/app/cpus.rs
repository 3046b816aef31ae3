//! How many processors the process may use.

use std::{fs, num::NonZeroUsize, path::Path, thread};

/// The processors that the process may use: those that it may run on, or the quota of its cgroup, rounded up, where
/// that is less.
///
/// The standard library rounds the quota down, which would leave a part of it to nobody.
pub(super) fn usable() -> NonZeroUsize {
    let (mask, quota) = (affinity(), quota(Path::new("/sys/fs/cgroup")));
    quota.map_or(mask, |quota| quota.min(mask))
}

/// The processors that the scheduler may put us on.
fn affinity() -> NonZeroUsize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:"));
    let bits = mask.map_or(0, |mask| mask.chars().filter_map(|digit| digit.to_digit(16)).map(u32::count_ones).sum());
    NonZeroUsize::new(bits as usize).or(thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

/// The quota of the cgroup that is mounted at `root`, version 2 or 1, in processors.
fn quota(root: &Path) -> Option<NonZeroUsize> {
    let read = |name: &str| fs::read_to_string(root.join(name)).ok();
    let (quota, period) = match read("cpu.max") {
        Some(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?)
        }
        None => (
            read("cpu/cpu.cfs_quota_us")?.trim().parse::<u64>().ok()?,
            read("cpu/cpu.cfs_period_us")?.trim().parse::<u64>().ok()?,
        ),
    };
    if period == 0 { None } else { NonZeroUsize::new(quota.div_ceil(period) as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota_of(files: &[(&str, &str)]) -> Option<usize> {
        let root = tempfile::tempdir().expect("a directory can be made");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("it is below the root")).expect("a directory can be made");
            fs::write(path, text).expect("a file can be written");
        }
        quota(root.path()).map(NonZeroUsize::get)
    }

    #[test]
    fn a_quota_is_rounded_up() {
        assert_eq!(quota_of(&[("cpu.max", "150000 100000\n")]), Some(2));
        assert_eq!(quota_of(&[("cpu.max", "10000 100000\n")]), Some(1));
        let version_1 = [("cpu/cpu.cfs_quota_us", "250000\n"), ("cpu/cpu.cfs_period_us", "100000\n")];
        assert_eq!(quota_of(&version_1), Some(3));
    }

    #[test]
    fn no_quota_is_no_limit() {
        assert_eq!(quota_of(&[("cpu.max", "max 100000\n")]), None);
        assert_eq!(quota_of(&[("cpu/cpu.cfs_quota_us", "-1\n"), ("cpu/cpu.cfs_period_us", "100000\n")]), None);
        assert_eq!(quota_of(&[]), None);
    }

    #[test]
    fn there_is_at_least_one() {
        assert!(affinity().get() >= 1);
    }
}
