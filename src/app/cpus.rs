//! How many processors the process may use.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Component, Path, PathBuf},
    thread,
};

/// The processors that the process may use: those that it may run on, or the quota of its cgroups, rounded up, where
/// that is less.
///
/// The standard library rounds the quota down, which would leave a part of it to nobody.
pub(super) fn usable() -> NonZeroUsize {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let (mask, quota) = (affinity(), quota(Path::new("/sys/fs/cgroup"), &membership));
    quota.map_or(mask, |quota| quota.min(mask))
}

/// The processors that the scheduler may put us on.
fn affinity() -> NonZeroUsize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:"));
    let bits = mask.map_or(0, |mask| mask.chars().filter_map(|digit| digit.to_digit(16)).map(u32::count_ones).sum());
    NonZeroUsize::new(bits as usize).or(thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

/// The least quota, in processors, of the cgroups that a process is in: its own and all above it, below the mounts at
/// `root`. `membership` is its `/proc/self/cgroup` (cgroups(7)).
///
/// What the file names may lie outside of what is mounted, as where a container sees only its own part of the tree. Then
/// those above it count.
fn quota(root: &Path, membership: &str) -> Option<NonZeroUsize> {
    let mut least = None;
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let version_1 = controllers.split(',').any(|controller| controller == "cpu");
        if !version_1 && !controllers.is_empty() {
            continue;
        }
        // Where both versions are in use, version 2 has a mount of its own, and no quota of processors.
        let mount = if version_1 { controller_mount(root, controllers) } else { root.to_owned() };
        for group in groups(path) {
            let quota = if version_1 { quota_1(&mount.join(group)) } else { quota_2(&mount.join(group)) };
            least = least.into_iter().chain(quota).min();
        }
    }
    least
}

/// Where the controllers of version 1 are mounted that share a hierarchy: under all their names, or that of one.
fn controller_mount(root: &Path, controllers: &str) -> PathBuf {
    let together = root.join(controllers);
    if together.is_dir() { together } else { root.join("cpu") }
}

/// A cgroup and all above it, as paths below the mount.
fn groups(path: &str) -> impl Iterator<Item = &Path> {
    let path = Path::new(path.strip_prefix('/').unwrap_or(path));
    // A path that leads out of the mount has nothing in it but the mount itself.
    let inside = path.components().all(|component| matches!(component, Component::Normal(_)));
    if inside { path } else { Path::new("") }.ancestors()
}

fn quota_2(group: &Path) -> Option<NonZeroUsize> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    processors(quota, period)
}

fn quota_1(group: &Path) -> Option<NonZeroUsize> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    processors(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?)
}

/// A quota in processors, rounded up. None is `max` or -1.
fn processors(quota: &str, period: &str) -> Option<NonZeroUsize> {
    let (quota, period) = (quota.trim().parse::<u64>().ok()?, period.trim().parse::<u64>().ok()?);
    if period == 0 { None } else { NonZeroUsize::new(quota.div_ceil(period) as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota_of(membership: &str, files: &[(&str, &str)]) -> Option<usize> {
        let root = tempfile::tempdir().expect("a directory can be made");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("it is below the root")).expect("a directory can be made");
            fs::write(path, text).expect("a file can be written");
        }
        quota(root.path(), membership).map(NonZeroUsize::get)
    }

    #[test]
    fn a_quota_is_rounded_up() {
        assert_eq!(quota_of("0::/\n", &[("cpu.max", "150000 100000\n")]), Some(2));
        assert_eq!(quota_of("0::/\n", &[("cpu.max", "10000 100000\n")]), Some(1));
        let version_1 = [("cpu/cpu.cfs_quota_us", "250000\n"), ("cpu/cpu.cfs_period_us", "100000\n")];
        assert_eq!(quota_of("3:cpu,cpuacct:/\n", &version_1), Some(3));
    }

    #[test]
    fn no_quota_is_no_limit() {
        assert_eq!(quota_of("0::/\n", &[("cpu.max", "max 100000\n")]), None);
        let version_1 = [("cpu/cpu.cfs_quota_us", "-1\n"), ("cpu/cpu.cfs_period_us", "100000\n")];
        assert_eq!(quota_of("3:cpu:/\n", &version_1), None);
        assert_eq!(quota_of("0::/\n", &[]), None);
        assert_eq!(quota_of("", &[("cpu.max", "100000 100000\n")]), None);
    }

    #[test]
    fn the_least_quota_up_to_the_root_counts() {
        let files = [
            ("system.slice/cpu.max", "300000 100000\n"),
            ("system.slice/serin.service/cpu.max", "max 100000\n"),
            ("system.slice/serin.service/main/cpu.max", "500000 100000\n"),
            ("system.slice/other.service/cpu.max", "100000 100000\n"),
        ];
        assert_eq!(quota_of("0::/system.slice/serin.service/main\n", &files), Some(3));
        let files = [
            ("cpu,cpuacct/a/cpu.cfs_quota_us", "400000\n"),
            ("cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ("cpu,cpuacct/a/b/cpu.cfs_quota_us", "50000\n"),
            ("cpu,cpuacct/a/b/cpu.cfs_period_us", "25000\n"),
            ("cpu.max", "100000 100000\n"),
        ];
        let membership = "11:memory:/a/c\n5:cpu,cpuacct:/a/b\n1:name=systemd:/x\n";
        assert_eq!(quota_of(membership, &files), Some(2));
    }

    #[test]
    fn what_the_container_does_not_see_is_left_out() {
        let files = [("cpu.max", "200000 100000\n")];
        for membership in ["0::/kubepods/pod7/c0ffee\n", "0::/../../kubepods\n", "0::/..\n"] {
            assert_eq!(quota_of(membership, &files), Some(2), "{membership}");
        }
    }

    #[test]
    fn there_is_at_least_one() {
        assert!(affinity().get() >= 1);
    }
}
