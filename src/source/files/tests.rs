//! Real directories, and everything that people and programs do to the files in them.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Write,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::symlink},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::source::Batch;

/// Far longer than anything here takes; reached only by a fault.
const LIMIT: Duration = Duration::from_secs(30);

/// Files are not looked at without an event here, so that an event that is missed fails a test.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// What followed files come to.
struct Watched {
    following: Following,
    /// The paths of Services' annotation `v`, by the key.
    objects: BTreeMap<String, String>,
    problems: Vec<String>,
    batches: usize,
}

impl Watched {
    async fn start(path: &Path) -> Self {
        let following = follow::start(config(path), NEVER).expect("a thread can be started");
        let mut watched = Self { following, objects: BTreeMap::new(), problems: Vec::new(), batches: 0 };
        watched.take().await;
        watched
    }

    async fn take(&mut self) -> Batch {
        let batch = tokio::time::timeout(LIMIT, self.following.next()).await;
        let Ok(batch) = batch else { panic!("no batch came; there are {:?} {:?}", self.objects, self.problems) };
        let batch = batch.expect("the thread lives");
        for key in &batch.deleted {
            assert!(self.objects.remove(&key.to_string()).is_some(), "{key} is deleted, and was not there");
        }
        self.objects.extend(batch.applied.iter().map(|(object, _)| (object.key().to_string(), version(object))));
        self.problems = batch.problems.iter().map(ToString::to_string).collect();
        self.batches += 1;
        batch
    }

    async fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            self.take().await;
        }
    }

    async fn until_objects(&mut self, expected: &[(&str, &str)]) {
        let key = |name: &str| format!("Service default/{name}");
        let expected = expected.iter().map(|(name, version)| (key(name), (*version).to_owned())).collect();
        self.until(|watched| watched.objects == expected).await;
    }
}

fn config(path: &Path) -> Config {
    Config { path: path.to_owned(), endpoints: Vec::new() }
}

fn version(object: &Object) -> String {
    object.metadata().annotations.iter().flatten().map(|(_, value)| value.clone()).collect()
}

fn service(name: &str, version: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  annotations: {{v: \"{version}\"}}\n")
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

/// Writes as most editors do: a new file, renamed over the old one.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("tmp");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn names(loaded: &Loaded) -> Vec<String> {
    loaded.objects.iter().map(|(object, _)| object.key().name.to_string()).collect()
}

fn problems(loaded: &Loaded, root: &Path) -> Vec<String> {
    let root = format!("{}/", root.display());
    loaded.problems.iter().map(|problem| problem.to_string().replace(&root, "")).collect()
}

#[test]
fn directories_are_read_to_any_depth_in_the_order_of_paths() {
    let dir = dir();
    fs::create_dir_all(dir.path().join("b/c/d")).unwrap();
    fs::create_dir_all(dir.path().join(".git")).unwrap();
    let two = format!("{}---\n{}", service("three", "1"), service("four", "1"));
    for (path, text) in [
        ("b/c/d/deep.yml", service("five", "1")),
        ("b/a.yaml", two),
        ("a.json", r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}}"#.to_owned()),
        ("b.yaml", service("two", "1")),
        (".hidden.yaml", service("hidden", "1")),
        (".git/x.yaml", service("hidden", "1")),
        ("notes.txt", "not: [a manifest".to_owned()),
        ("empty.yaml", String::new()),
        ("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n".to_owned()),
    ] {
        fs::write(dir.path().join(path), text).unwrap();
    }
    // Links in a circle end, and a directory that two paths lead to is read once.
    symlink("..", dir.path().join("b/up")).unwrap();
    symlink("b", dir.path().join("z")).unwrap();

    let loaded = read(&config(dir.path()));
    assert_eq!(names(&loaded), ["one", "two", "three", "four", "five"]);
    assert_eq!(problems(&loaded, dir.path()), [""; 0]);
    assert_eq!(loaded.ignored, BTreeMap::from([("Pod (v1)".to_owned(), 1)]));
    assert!(loaded.objects.is_sorted_by(|(_, a), (_, b)| a < b), "the later the younger");
}

#[test]
fn a_time_of_creation_is_the_age_where_there_is_one() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a, creationTimestamp: 2026-01-02T03:04:05Z}\n";
    let loaded = parse("-", text.as_bytes(), &[]);
    assert_eq!(loaded.objects[0].1, Age::Created("2026-01-02T03:04:05Z".parse().unwrap()));
}

#[test]
fn places_of_fields_are_known() {
    let text = "\
apiVersion: v1
kind: List
items:
- apiVersion: networking.k8s.io/v1
  kind: Ingress
  metadata:
    name: web
    annotations:
      serin.dev/canary: \"yes\"
  spec:
    rules:
    - host: a.example
    - host: b.example
      http:
        paths:
        - path: /
";
    let places = parse("-", text.as_bytes(), &[]).places;
    let place = |field| places.of(&ObjectKey::ingress("default", "web"), field).map(|place| place.to_string());
    for (field, at) in [
        ("metadata.annotations[serin.dev/canary]", "-:9:7"),
        ("metadata.annotations[serin.dev/other]", "-:8:5"),
        ("metadata.labels", "-:6:3"),
        ("spec.rules[1]", "-:13:7"),
        ("spec.rules[1].http.paths[0].path", "-:16:11"),
        ("spec.rules[1].http.paths[0].backend.service", "-:16:11"),
        ("spec.rules[7].host", "-:11:5"),
        ("elsewhere", "-:4:3"),
    ] {
        assert_eq!(place(field).as_deref(), Some(at), "{field}");
    }
    assert_eq!(places.of(&ObjectKey::ingress("default", "gone"), "spec"), None);
}

#[test]
fn marks_of_byte_order_and_other_line_ends_are_read() {
    let text = format!("\u{feff}{}---\n{}", service("a", "1"), service("b", "1")).replace('\n', "\r\n");
    assert_eq!(names(&parse("-", text.as_bytes(), &[])), ["a", "b"]);
}

#[test]
fn of_an_object_in_two_files_the_first_path_wins() {
    let dir = dir();
    fs::write(dir.path().join("a.yaml"), service("web", "first")).unwrap();
    fs::write(dir.path().join("b.yaml"), format!("{}---\n{}", service("x", "1"), service("web", "second"))).unwrap();
    let loaded = read(&config(dir.path()));
    assert_eq!(names(&loaded), ["web", "x"]);
    assert_eq!(version(&loaded.objects[0].0), "first");
    assert_eq!(
        problems(&loaded, dir.path()),
        [
            "Service default/web: metadata.name: the object is in a.yaml:1:1 and again in b.yaml:7:1; the first is used, \
          and the second has no effect. Keep one of them."
        ]
    );
}

#[test]
fn of_a_secret_only_the_kind_of_a_wrong_value_is_told() {
    let fault = |data: &str| {
        let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{data}\n");
        let loaded = parse("s.yaml", text.as_bytes(), &[]);
        assert_eq!(loaded.problems.len(), 1, "{data}: {:?}", loaded.problems);
        let Problem { field, fault, mend, .. } = &loaded.problems[0];
        [field, fault, mend].map(ToOwned::to_owned)
    };
    let quotes = "Write the value in quotes";
    let base64 = "Write the value in base64, or as it is under `stringData`";
    for (data, [field, said, mend]) in [
        (
            "stringData: {password: 12345678}",
            ["stringData.password", "a string was expected, and this is an integer (s.yaml:4:24)", quotes],
        ),
        (
            "stringData: {password: 1234.5678}",
            ["stringData.password", "a string was expected, and this is a number (s.yaml:4:24)", quotes],
        ),
        (
            "stringData: {password: true}",
            ["stringData.password", "a string was expected, and this is a boolean (s.yaml:4:24)", quotes],
        ),
        (
            "data: {password: 1234}",
            ["data.password", "a base64-encoded string was expected, and this is an integer (s.yaml:4:18)", base64],
        ),
        ("data: {password: hunter2!}", ["data.password", "the field cannot have this value (s.yaml:4:18)", base64]),
        (
            "immutable: hunter2",
            [
                "immutable",
                "a boolean was expected, and this is a string (s.yaml:4:12)",
                "Write the field as `kubectl explain secret` describes it",
            ],
        ),
    ] {
        assert_eq!(fault(data), [field, said, mend]);
    }
}

#[test]
fn what_is_wrong_with_the_yaml_around_a_secret_is_told_without_its_value() {
    for value in [
        "!hunter2 x",
        "!!hunter2 x",
        "*hunter2",
        "%hunter2",
        "@hunter2",
        "hunter2: x",
        "\"hunter2",
        "'hunter2",
        "\"\\hunter2\"",
        "{hunter2: 1, hunter2: 2}",
        "{[hunter2]: 1}",
        "!!int hunter2",
        "!!float hunter2",
        "!!binary hunter2!",
        "|hunter2",
        ">hunter2",
        "[hunter2",
        "&a hunter2\n  more: *a hunter2",
        "\t- hunter2",
        "hunter2\n hunter2: x",
    ] {
        for field in ["data", "stringData"] {
            let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{field}:\n  password: {value}\n");
            let loaded = parse("s.yaml", text.as_bytes(), &[]);
            let told = format!("{:?}", loaded.problems);
            assert!(!told.contains("hunter2"), "{value}: {told}");
        }
    }
}

#[test]
fn a_file_that_is_no_manifest_by_its_size_is_not_read() {
    let dir = dir();
    fs::write(dir.path().join("a.yaml"), service("a", "1")).unwrap();
    // Without blocks on the disk.
    fs::File::create(dir.path().join("huge.yaml")).unwrap().set_len((256 << 20) + 1).unwrap();
    let loaded = read(&config(dir.path()));
    assert_eq!(names(&loaded), ["a"]);
    assert_eq!(
        problems(&loaded, dir.path()),
        [
            "Manifest huge.yaml: file: it is larger than 256 MiB; no object of the file is used. Split the file, or remove \
             it."
        ]
    );
}

#[test]
fn files_whose_names_differ_only_where_they_are_no_text_are_told() {
    let dir = dir();
    for (name, object) in [(b"a\xfe.yaml", "first"), (b"a\xff.yaml", "second")] {
        fs::write(dir.path().join(OsStr::from_bytes(name)), service(object, "1")).unwrap();
    }
    let loaded = read(&config(dir.path()));
    assert_eq!(names(&loaded), ["first"]);
    assert_eq!(
        problems(&loaded, dir.path()),
        [
            "Manifest a\u{fffd}.yaml: file: another file has this name but for bytes that are not UTF-8; only one of them is \
             read. Rename one of them."
        ]
    );
}

#[test]
fn a_stream_is_read_once() {
    let (read_end, mut write_end) = std::io::pipe().unwrap();
    write_end.write_all(service("a", "1").as_bytes()).unwrap();
    write_end.write_all(b"---\nkind: [").unwrap();
    drop(write_end);
    let path = PathBuf::from(format!("/proc/self/fd/{}", read_end.as_raw_fd()));
    let loaded = read(&config(&path));
    assert_eq!(loaded.problems.len(), 1, "what is wrong in it is told: {:?}", loaded.problems);
    assert_eq!(loaded.problems[0].object.name, path.to_string_lossy().into());
}

#[tokio::test]
async fn what_is_neither_a_directory_nor_a_file_cannot_be_followed() {
    let watched = Watched::start(Path::new("/dev/null")).await;
    let expected = "Manifest /dev/null: file: it is neither a directory nor a file, and cannot be followed; ";
    assert!(watched.problems.len() == 1 && watched.problems[0].starts_with(expected), "{:?}", watched.problems);
}

#[test]
fn a_path_that_cannot_be_read_is_a_problem() {
    let loaded = read(&config(Path::new("/nonexistent/shop")));
    assert!(loaded.objects.is_empty());
    assert_eq!(loaded.problems.len(), 1);
    assert_eq!(loaded.problems[0].object.to_string(), "Manifest /nonexistent/shop");
}

#[test]
fn a_small_text_does_not_become_a_big_tree() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        aliases.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    for text in [aliases, "[".repeat(10_000), "{a: ".repeat(10_000), "- ".repeat(10_000)] {
        let loaded = parse("-", text.as_bytes(), &[]);
        assert_eq!(loaded.problems.len(), 1, "{:?}", loaded.problems);
    }
}

#[test]
fn endpoints_of_the_command_line_become_slices() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n";
    let flags = ["default/web:80=127.0.0.1:8080", "default/gone:80=127.0.0.1:8080"].map(|flag| flag.parse().unwrap());
    let loaded = parse("-", text.as_bytes(), &flags);
    let keys = loaded.objects.iter().map(|(object, _)| object.key().to_string()).collect::<Vec<_>>();
    assert_eq!(keys, ["Service default/web", "EndpointSlice default/web-endpoint-flag-0"]);
    assert_eq!(loaded.problems.len(), 1);
}

#[tokio::test]
async fn edits_replacements_and_deletions_are_followed() {
    let dir = dir();
    let (a, b) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
    fs::write(&a, service("a", "1")).unwrap();
    let mut watched = Watched::start(dir.path()).await;
    watched.until_objects(&[("a", "1")]).await;
    assert_eq!(watched.batches, 1, "the first batch is complete");

    fs::write(&a, service("a", "2")).unwrap();
    watched.until_objects(&[("a", "2")]).await;
    replace(&a, &service("a", "3"));
    watched.until_objects(&[("a", "3")]).await;
    replace(&b, &service("b", "1"));
    watched.until_objects(&[("a", "3"), ("b", "1")]).await;
    // vim: the file is moved away, then written anew.
    fs::rename(&a, dir.path().join("a.yaml~")).unwrap();
    fs::write(&a, service("a", "4")).unwrap();
    watched.until_objects(&[("a", "4"), ("b", "1")]).await;
    fs::rename(&a, dir.path().join("renamed.yaml")).unwrap();
    fs::remove_file(&b).unwrap();
    watched.until_objects(&[("a", "4")]).await;
    fs::remove_file(dir.path().join("renamed.yaml")).unwrap();
    watched.until_objects(&[]).await;
}

#[tokio::test]
async fn a_mounted_config_map_is_followed_when_it_is_turned() {
    let dir = dir();
    let generation = |name: &str, version: &str| {
        let data = dir.path().join(name);
        fs::create_dir(&data).unwrap();
        fs::write(data.join("web.yaml"), service("web", version)).unwrap();
        symlink(name, dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    generation("..2026_01", "1");
    symlink("..data/web.yaml", dir.path().join("web.yaml")).unwrap();
    let mut watched = Watched::start(dir.path()).await;
    watched.until_objects(&[("web", "1")]).await;
    for (name, former, version) in [("..2026_02", "..2026_01", "2"), ("..2026_03", "..2026_02", "3")] {
        generation(name, version);
        // Only then, so that the removal cannot be what tells of the turn.
        watched.until_objects(&[("web", version)]).await;
        fs::remove_dir_all(dir.path().join(former)).unwrap();
        assert_eq!(watched.problems, [""; 0]);
    }
}

#[tokio::test]
async fn the_target_of_a_link_is_followed() {
    let (dir, elsewhere) = (dir(), dir());
    let target = elsewhere.path().join("target");
    fs::write(&target, service("a", "1")).unwrap();
    symlink(&target, dir.path().join("a.yaml")).unwrap();
    let mut watched = Watched::start(dir.path()).await;
    fs::write(&target, service("a", "2")).unwrap();
    watched.until_objects(&[("a", "2")]).await;
    replace(&target, &service("a", "3"));
    watched.until_objects(&[("a", "3")]).await;
    // A link that leads nowhere is a file that cannot be read.
    fs::remove_file(&target).unwrap();
    watched.until(|watched| watched.problems.len() == 1).await;
    watched.until_objects(&[("a", "3")]).await;
    fs::write(&target, service("a", "4")).unwrap();
    watched.until_objects(&[("a", "4")]).await;
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    watched.until_objects(&[]).await;
    assert_eq!(watched.problems, [""; 0]);
}

#[tokio::test]
async fn directories_that_come_later_are_followed() {
    let dir = dir();
    let mut watched = Watched::start(dir.path()).await;
    let deep = dir.path().join("a/b/c");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("x.yaml"), service("x", "1")).unwrap();
    watched.until_objects(&[("x", "1")]).await;
    fs::write(deep.join("x.yaml"), service("x", "2")).unwrap();
    watched.until_objects(&[("x", "2")]).await;

    // A directory that is moved in, with what is in it.
    let made = tempfile::tempdir_in(dir.path().parent().unwrap()).unwrap();
    fs::create_dir(made.path().join("in")).unwrap();
    fs::write(made.path().join("in/y.yaml"), service("z", "1")).unwrap();
    fs::rename(made.path().join("in"), dir.path().join("in")).unwrap();
    watched.until_objects(&[("x", "2"), ("z", "1")]).await;
    fs::write(dir.path().join("in/y.yaml"), service("z", "2")).unwrap();
    watched.until_objects(&[("x", "2"), ("z", "2")]).await;

    // Another directory in the place of one.
    fs::rename(dir.path().join("a"), made.path().join("a")).unwrap();
    fs::rename(dir.path().join("in"), dir.path().join("a")).unwrap();
    watched.until_objects(&[("z", "2")]).await;
    fs::write(dir.path().join("a/y.yaml"), service("z", "3")).unwrap();
    watched.until_objects(&[("z", "3")]).await;
    fs::remove_dir_all(dir.path().join("a")).unwrap();
    watched.until_objects(&[]).await;
}

#[tokio::test]
async fn a_directory_may_be_missing_and_return() {
    let parent = dir();
    let path = parent.path().join("shop");
    let mut watched = Watched::start(&path).await;
    assert_eq!(watched.problems.len(), 1, "{:?}", watched.problems);

    for version in ["1", "2"] {
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a.yaml"), service("a", version)).unwrap();
        watched.until_objects(&[("a", version)]).await;
        watched.until(|watched| watched.problems.is_empty()).await;
        // Moved away as a whole: what was read stays.
        fs::rename(&path, parent.path().join(format!("away-{version}"))).unwrap();
        watched.until(|watched| watched.problems.len() == 1).await;
        watched.until_objects(&[("a", version)]).await;
        let problem = &watched.problems[0];
        assert!(problem.contains("what was read before stays"), "{problem}");
    }
}

#[tokio::test]
async fn a_link_to_a_directory_may_be_turned() {
    let parent = dir();
    for release in ["1", "2"] {
        fs::create_dir(parent.path().join(release)).unwrap();
        fs::write(parent.path().join(release).join("a.yaml"), service("a", release)).unwrap();
    }
    let current = parent.path().join("current");
    symlink("1", &current).unwrap();
    let mut watched = Watched::start(&current).await;
    watched.until_objects(&[("a", "1")]).await;
    symlink("2", parent.path().join("next")).unwrap();
    fs::rename(parent.path().join("next"), &current).unwrap();
    watched.until_objects(&[("a", "2")]).await;
    fs::write(current.join("a.yaml"), service("a", "3")).unwrap();
    watched.until_objects(&[("a", "3")]).await;
}

#[tokio::test]
async fn links_on_the_way_may_be_turned() {
    let dir = dir();
    for release in ["1", "2", "3"] {
        fs::create_dir_all(dir.path().join(release).join("shop")).unwrap();
        fs::write(dir.path().join(release).join("shop/a.yaml"), service("a", release)).unwrap();
    }
    let turn = |release: &str| {
        symlink(release, dir.path().join("next")).unwrap();
        fs::rename(dir.path().join("next"), dir.path().join("current")).unwrap();
    };
    // On the way to a directory, behind a link in one, and behind a link that is the file itself.
    let listed = dir.path().join("listed");
    fs::create_dir(&listed).unwrap();
    symlink("../current/shop", listed.join("shop")).unwrap();
    symlink("current/shop/a.yaml", dir.path().join("a.yaml")).unwrap();
    for path in ["current/shop", "listed", "a.yaml"] {
        turn("1");
        let mut watched = Watched::start(&dir.path().join(path)).await;
        watched.until_objects(&[("a", "1")]).await;
        for release in ["2", "3"] {
            // What it led to before stays, and tells nothing.
            turn(release);
            watched.until_objects(&[("a", release)]).await;
        }
    }
}

#[tokio::test]
async fn what_is_behind_a_link_that_leads_nowhere_for_a_while_stays() {
    let (dir, elsewhere) = (dir(), dir());
    let (link, real, away) = (dir.path().join("shop"), elsewhere.path().join("real"), elsewhere.path().join("away"));
    fs::create_dir_all(real.join("deep")).unwrap();
    fs::write(real.join("deep/a.yaml"), service("a", "1")).unwrap();
    symlink(&real, &link).unwrap();
    let mut watched = Watched::start(dir.path()).await;
    watched.until_objects(&[("a", "1")]).await;
    fs::rename(&real, &away).unwrap();
    watched.until(|watched| watched.problems.len() == 1).await;
    watched.until_objects(&[("a", "1")]).await;
    let problem = watched.problems[0].replace(&format!("{}/", dir.path().display()), "");
    assert!(problem.starts_with("Manifest shop: file: "), "{problem}");
    assert!(problem.contains("what was read before stays"), "{problem}");
    fs::write(away.join("deep/a.yaml"), service("a", "2")).unwrap();
    fs::rename(&away, &real).unwrap();
    watched.until_objects(&[("a", "2")]).await;
    assert_eq!(watched.problems, [""; 0]);
    fs::remove_file(&link).unwrap();
    watched.until_objects(&[]).await;
    assert_eq!(watched.problems, [""; 0]);
}

#[test]
fn a_name_that_may_be_a_directory_out_of_reach_is_a_problem() {
    let dir = dir();
    symlink("stray", dir.path().join("link")).unwrap();
    assert_eq!(problems(&read(&config(dir.path())), dir.path()), [""; 0], "nothing was ever behind a stray link");
    // Any other error will do; permissions do not bind root.
    symlink("circle", dir.path().join("circle")).unwrap();
    let problems = problems(&read(&config(dir.path())), dir.path());
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("Manifest circle: file: "), "{problems:?}");
}

#[tokio::test]
async fn a_single_file_may_be_followed() {
    let dir = dir();
    let path = dir.path().join("any.name");
    fs::write(&path, service("a", "1")).unwrap();
    fs::write(dir.path().join("b.yaml"), service("b", "1")).unwrap();
    let mut watched = Watched::start(&path).await;
    watched.until_objects(&[("a", "1")]).await;
    replace(&path, &service("a", "2"));
    watched.until_objects(&[("a", "2")]).await;
    fs::write(&path, service("a", "3")).unwrap();
    watched.until_objects(&[("a", "3")]).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_keeps_its_objects_and_others_go_on() {
    let dir = dir();
    let (a, b) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
    fs::write(&a, format!("{}---\n{}", service("a", "1"), service("aa", "1"))).unwrap();
    fs::write(&b, service("b", "1")).unwrap();
    let mut watched = Watched::start(dir.path()).await;

    // The first document is right; the file is not.
    fs::write(&a, format!("{}---\nkind: Service\nmetadata: {{a: b: c}}\n", service("a", "2"))).unwrap();
    watched.until(|watched| watched.problems.len() == 1).await;
    let problem = watched.problems[0].replace(&format!("{}/", dir.path().display()), "");
    assert!(problem.starts_with("Manifest a.yaml: line 8, column 16: "), "{problem}");
    assert!(problem.contains("the former objects of the file stay"), "{problem}");
    fs::write(&b, service("b", "2")).unwrap();
    watched.until_objects(&[("a", "1"), ("aa", "1"), ("b", "2")]).await;
    assert_eq!(watched.problems.len(), 1);

    fs::write(&a, service("a", "3")).unwrap();
    watched.until_objects(&[("a", "3"), ("b", "2")]).await;
    assert_eq!(watched.problems, [""; 0]);
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_not_read_by_halves() {
    let dir = dir();
    let (a, b) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
    fs::write(&a, service("a", "0")).unwrap();
    let mut watched = Watched::start(dir.path()).await;
    let last = 200;
    let writer = thread::spawn(move || {
        for version in 1..=last {
            // Emptied, then written in two steps, while another file makes looks happen at any moment.
            let mut file = fs::File::create(&a).unwrap();
            let text = service("a", &version.to_string());
            let (head, tail) = text.split_at(text.len() / 2);
            file.write_all(head.as_bytes()).unwrap();
            fs::write(&b, service("b", &version.to_string())).unwrap();
            file.write_all(tail.as_bytes()).unwrap();
        }
    });
    let last = last.to_string();
    while watched.objects["Service default/a"] != last {
        let batch = watched.take().await;
        assert_eq!(batch.deleted, [], "the file was never without its object for long");
        assert_eq!(watched.problems, [""; 0], "half of the file was read");
    }
    writer.join().unwrap();
}

#[tokio::test]
async fn what_says_the_same_is_not_handed_on() {
    let dir = dir();
    let (a, b) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
    fs::write(&a, format!("{}---\n{}", service("a", "1"), service("aa", "1"))).unwrap();
    let mut watched = Watched::start(dir.path()).await;
    // Written again, with a remark, in the other style, and with one of two objects changed.
    fs::write(&a, format!("# remark\n{}---\n{}", service("a", "1"), service("aa", "1"))).unwrap();
    replace(&a, &format!("{}---\n{}", service("a", "1").replace('"', "'"), service("aa", "2")));
    let batch = watched.take().await;
    let applied = batch.applied.iter().map(|(object, _)| object.key().name.to_string()).collect::<Vec<_>>();
    assert_eq!(applied, ["aa"]);
    fs::write(&b, service("b", "1")).unwrap();
    let batch = watched.take().await;
    assert_eq!(batch.applied.len(), 1, "{batch:?}");
}

#[tokio::test]
async fn a_burst_of_changes_is_few_batches() {
    let dir = dir();
    let mut watched = Watched::start(dir.path()).await;
    let count = 300;
    for n in 0..count {
        fs::write(dir.path().join(format!("{n}.yaml")), service(&format!("s{n}"), "1")).unwrap();
    }
    watched.until(|watched| watched.objects.len() == count).await;
    assert!(watched.batches < count / 3, "{} batches for {count} files", watched.batches);
}

/// Something that is done to a directory with files in it.
#[derive(Clone, Debug)]
enum Deed {
    Write { path: usize, version: u8 },
    Replace { path: usize, version: u8 },
    Spoil { path: usize },
    Remove { path: usize },
    Move { from: usize, to: usize },
    RemoveDirectory,
    Link { path: usize, to: usize },
}

const PATHS: [&str; 5] = ["a.yaml", "b.yaml", "d/a.yaml", "d/e/a.yaml", "d/e/b.json"];

impl Deed {
    /// Does it; what cannot be done is left.
    fn done(&self, root: &Path) {
        let place = |path: usize| -> PathBuf {
            let place = root.join(PATHS[path]);
            let _ = fs::create_dir_all(place.parent().unwrap());
            place
        };
        let text = |path: usize, version: u8| service(&format!("s{path}"), &format!("v{version}"));
        let _ = match *self {
            Self::Write { path, version } => fs::write(place(path), text(path, version)),
            Self::Replace { path, version } => {
                let _ = fs::write(root.join("new"), text(path, version));
                fs::rename(root.join("new"), place(path))
            }
            Self::Spoil { path } => fs::write(place(path), "a: b: c"),
            Self::Remove { path } => fs::remove_file(place(path)),
            Self::Move { from, to } => fs::rename(place(from), place(to)),
            Self::RemoveDirectory => fs::remove_dir_all(root.join("d")),
            Self::Link { path, to } => {
                let _ = fs::remove_file(place(path));
                symlink(place(to), place(path))
            }
        };
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    let path = || 0..PATHS.len();
    prop_oneof![
        4 => (path(), 0..4_u8).prop_map(|(path, version)| Deed::Write { path, version }),
        4 => (path(), 0..4_u8).prop_map(|(path, version)| Deed::Replace { path, version }),
        1 => path().prop_map(|path| Deed::Spoil { path }),
        2 => path().prop_map(|path| Deed::Remove { path }),
        2 => (path(), path()).prop_map(|(from, to)| Deed::Move { from, to }),
        1 => Just(Deed::RemoveDirectory),
        1 => (path(), path()).prop_map(|(path, to)| Deed::Link { path, to }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is done to the files, following them comes to what reading them says, once all can be read.
    #[test]
    fn following_comes_to_what_reading_says(deeds in prop::collection::vec(deed(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = dir();
            let mut watched = Watched::start(dir.path()).await;
            for deed in &deeds {
                deed.done(dir.path());
            }
            // What cannot be read keeps what it said before, which depends on when it was looked at.
            for place in PATHS.map(|path| dir.path().join(path)) {
                let readable = fs::read_to_string(&place).is_ok_and(|text| text.starts_with("apiVersion"));
                if !readable {
                    let _ = fs::remove_file(place);
                }
            }
            let loaded = read(&config(dir.path()));
            let expected = loaded.objects.iter().map(|(object, _)| (object.key().to_string(), version(object)));
            let expected = expected.collect::<BTreeMap<_, _>>();
            let problems = loaded.problems.iter().map(ToString::to_string).collect::<Vec<_>>();
            watched.until(|watched| watched.objects == expected && watched.problems == problems).await;
        });
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in prop_oneof![
        any::<Vec<u8>>(),
        prop::collection::vec(
            prop::sample::select(vec![
                "apiVersion: v1\n", "kind: Service\n", "kind: List\n", "items:\n", "- ", "  ", "metadata:\n", "name: ",
                "x", "\n", "---\n", "...\n", "&a ", "*a", "{", "}", "[", "]", ": ", ",", "\"", "'", "|\n", ">-\n", "!!binary ",
                "!!int ", "# ", "\t", "<<: ", "? ", "%YAML 1.2\n", "null", "~", "1e999", "-0x1", ".nan", "\u{feff}", "\r\n",
                "\u{85}", "\0", "spec:\n", "annotations: ", "99999999999999999999999999", "creationTimestamp: ",
            ]),
            0..60,
        ).prop_map(|parts| parts.concat().into_bytes()),
    ]) {
        let loaded = parse("-", &text, &[]);
        prop_assert!(loaded.objects.len() <= text.len());
    }
}
