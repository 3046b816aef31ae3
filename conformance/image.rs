//! The image, without a container runtime: its root directory is made by the Dockerfile's own script, and the program
//! runs in it as the image's user, who has no rights on the machine.

use crate::{
    client::Request,
    echo::Echo,
    gateway::Gateway,
    manifests::{self, Manifests},
    peer,
};
use std::{
    fs::{self, Metadata},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// The number of the capability to bind low ports (capabilities(7), linux/capability.h).
const NET_BIND_SERVICE: u32 = 10;

/// The user that the Dockerfile names.
const USER: &str = "65532:65532";

#[test]
fn the_program_runs_in_the_images_root() {
    let Some(root) = Root::collect() else { return };
    let output = root.command(&["--version"]).output().expect("chroot can be run");
    assert!(output.status.success(), "{output:?}");
    let version = concat!("serin ", env!("CARGO_PKG_VERSION"));
    assert!(String::from_utf8_lossy(&output.stdout).contains(version), "{output:?}");
}

#[tokio::test]
async fn the_program_serves_there_with_no_more_rights_than_it_needs() {
    let Some(root) = Root::collect() else { return };
    // An address of this process's own: other tests may want a port 80 too.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 80, high, low);
    let manifests = Manifests::new();
    let endpoint = Echo::start("a").await;
    let service = manifests::service("default", "a");
    manifests.write_objects("slices.json", &manifests::slices(&service, [&endpoint]));
    manifests.write_objects("others.json", &[service, manifests::catch_all("a")]);
    root.copy_in(manifests.path(), "/manifests");

    let address = address.to_string();
    let serve = ["run", "--manifests", "/manifests", "--bind-address", &address];
    // As it is told of in `docs/cluster.md`: where privileges may grow, the file's capability counts.
    for (escalation, ports) in [(true, ["80", "443"]), (false, ["8080", "8443"])] {
        let flags = ["--http-port", ports[0], "--https-port", ports[1]];
        let gateway =
            Gateway::spawn(root.contained(&[NET_BIND_SERVICE], escalation, &[&serve[..], &flags].concat())).await;
        assert_eq!(
            gateway.http,
            SocketAddr::new(address.parse().expect("an address"), ports[0].parse().expect("a port"))
        );
        let answer = gateway.client().await.exchange(&Request::get("shop.example", "/")).await.expect("it serves");
        assert_eq!((answer.status, answer.backend()), (200, Some("a")));
    }
}

#[test]
fn the_program_needs_to_be_granted_the_capability_of_its_file() {
    let Some(root) = Root::collect() else { return };
    for (granted, escalation, starts) in
        [(&[NET_BIND_SERVICE][..], false, true), (&[], false, false), (&[], true, false)]
    {
        let output = root.contained(granted, escalation, &["--version"]).output().expect("capsh can be run");
        assert_eq!(output.status.success(), starts, "{granted:?}, {escalation}: {output:?}");
    }
}

#[test]
fn the_images_root_holds_the_program_and_no_other() {
    let Some(root) = Root::collect() else { return };
    let is_program = |path: &Path, about: &Metadata| about.is_file() && about.mode() & 0o111 != 0 && !is_library(path);
    let programs = root.paths().into_iter().filter(|(path, about)| is_program(path, about));
    let programs: Vec<_> = programs.map(|(path, _)| path).collect();
    assert_eq!(programs, [root.path.join("serin")]);
}

/// So a read-only file system takes nothing away from it: it serves without one that it could write to.
#[test]
fn the_images_user_can_write_nothing_there() {
    let Some(root) = Root::collect() else { return };
    let (user, group) = USER.split_once(':').expect("it is a user and a group");
    let is_theirs = |about: &Metadata| {
        about.uid().to_string() == user
            || (about.gid().to_string() == group && about.mode() & 0o020 != 0)
            || about.mode() & 0o002 != 0
    };
    let writable: Vec<_> = root.paths().into_iter().filter(|(_, about)| is_theirs(about)).collect();
    assert!(writable.is_empty(), "{writable:?}");
}

#[test]
fn the_dockerfile_uses_this_script_and_this_user() {
    let dockerfile = include_str!("../Dockerfile");
    assert!(dockerfile.contains("image/collect target/dist/serin /image"), "{dockerfile}");
    assert!(dockerfile.contains(&format!("USER {USER}")), "{dockerfile}");
    assert!(dockerfile.contains("\nFROM scratch\n"), "{dockerfile}");
}

/// The image's root directory, deleted on drop.
struct Root {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

// === impl Root ===

impl Root {
    /// Makes the root, or `None` where that cannot be done.
    fn collect() -> Option<Self> {
        peer::program("setcap")?;
        peer::program("chroot")?;
        peer::program("capsh")?;
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        if dir.path().metadata().expect("the directory is there").uid() != 0 {
            peer::absent("the right to change the root directory");
            return None;
        }
        let path = dir.path().join("root");
        let collect = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/collect");
        let output = Command::new(collect)
            .args([Path::new(env!("CARGO_BIN_EXE_serin")), &path])
            .output()
            .expect("the script can be run");
        assert!(output.status.success(), "{output:?}");
        Some(Self { path, _dir: dir })
    }

    /// Runs the program in the root, as the image's user and with nothing in its environment.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(peer::program("chroot").expect("it was there when the root was made"));
        command.args(["--userspec", USER]).arg(&self.path).arg("/serin").args(args).env_clear();
        command
    }

    /// As [`command`](Self::command), with no capability to be had but those that are `granted`, as Kubernetes starts a
    /// container that drops all others. Without `escalation`, no file gives it any.
    fn contained(&self, granted: &[u32], escalation: bool, args: &[&str]) -> Command {
        let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("the kernel tells of its capabilities");
        let last: u32 = last.trim().parse().expect("it is a number");
        let dropped = (0..=last).filter(|capability| !granted.contains(capability));
        let dropped: Vec<_> = dropped.map(|capability| capability.to_string()).collect();
        let (user, group) = USER.split_once(':').expect("it is a user and a group");
        let mut command = Command::new(peer::program("capsh").expect("it was there when the root was made"));
        if !escalation {
            command.arg("--no-new-privs");
        }
        command.arg(format!("--chroot={}", self.path.display())).arg(format!("--drop={}", dropped.join(",")));
        command.args([&format!("--gid={group}"), &format!("--uid={user}"), "--shell=/serin", "--"]);
        command.args(args).env_clear();
        command
    }

    /// All that is in the root and the root itself, links followed.
    fn paths(&self) -> Vec<(PathBuf, Metadata)> {
        let mut paths = Vec::new();
        let mut left = vec![self.path.clone()];
        while let Some(path) = left.pop() {
            let about = path.metadata().expect("what is in the root can be looked at");
            if about.is_dir() {
                let entries = fs::read_dir(&path).expect("the root can be listed");
                left.extend(entries.map(|entry| entry.expect("the root can be listed").path()));
            }
            paths.push((path, about));
        }
        paths
    }

    /// Copies a directory of files into the root, for everybody to read.
    fn copy_in(&self, dir: &Path, to: &str) {
        let to = self.path.join(to.trim_start_matches('/'));
        fs::create_dir(&to).expect("the root can be written to");
        for entry in fs::read_dir(dir).expect("the directory can be listed") {
            let entry = entry.expect("the directory can be listed");
            fs::copy(entry.path(), to.join(entry.file_name())).expect("the root can be written to");
        }
    }
}

fn is_library(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"))
}
