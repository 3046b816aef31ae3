//! The files below a path: which there are, and what each said when it could last be read.

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    fs::{self, FileType},
    hash::{DefaultHasher, Hasher},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tracing::debug;

use super::{
    Config, Loaded, Located,
    manifest::{self, Detail, Fault, Listed, Manifest},
};
use crate::{
    api::Object,
    key::ObjectKey,
    problem::{Level, Problem, Reason},
    source::endpoint_flag,
    store::Age,
};

/// The files below a path.
#[derive(Debug)]
pub(super) struct Tree {
    config: Config,
    detail: Detail,
    /// By path, whose order decides between objects of the same name.
    files: BTreeMap<Arc<str>, File>,
    /// What is wrong with directories, by path.
    faults: BTreeMap<Arc<str>, Fault>,
    /// The files that the last look found different, and how they were before, if they were.
    former: Vec<(Arc<str>, Option<File>)>,
}

/// What a look finds at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Gone,
    Empty,
    Text,
}

/// Told of every directory before it is listed and of every link before what is behind it is read, so that no change after
/// that is missed.
pub(super) trait Watch {
    fn watch(&mut self, directory: &Path);
    fn link(&mut self, link: &Path);
}

/// Watches nothing.
#[derive(Debug)]
pub(super) struct Unwatched;

#[derive(Clone, Debug, Default)]
struct File {
    /// The state in which it was last read, if that can be told from others.
    seen: Option<Seen>,
    /// A hash of the bytes that were last read.
    digest: Option<u64>,
    is_empty: bool,
    /// What it said when it could last be read.
    manifest: Option<Arc<Manifest>>,
    /// Why it cannot be read now.
    faults: Vec<Fault>,
}

/// What tells a state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A walk to all that is below a path.
struct Walk<'w, W> {
    watch: &'w mut W,
    /// The files that were there before.
    known: &'w BTreeMap<Arc<str>, File>,
    /// Directories on the way, by device and number, so that links in a circle end.
    directories: HashSet<(u64, u64)>,
    found: Survey,
}

/// What is found on a walk.
#[derive(Default)]
struct Survey {
    files: BTreeMap<Arc<str>, PathBuf>,
    faults: BTreeMap<Arc<str>, Fault>,
}

/// A file whose state is younger than this when it is read may change again without a sign, since times are coarse.
const COARSE: Duration = Duration::from_secs(2);

/// No file is read that is larger: it would take the memory that serves requests.
const LARGEST: u64 = 256 << 20;

/// How to mend a name below the path that cannot be looked at.
const REACH: &str = "Make it readable, or remove it";

// === impl Tree ===

impl Tree {
    /// Knows no file yet.
    pub(super) fn new(config: Config, detail: Detail) -> Self {
        Self { config, detail, files: BTreeMap::new(), faults: BTreeMap::new(), former: Vec::new() }
    }

    /// Looks at all files and reads those that changed. Tells whether anything is different now.
    pub(super) fn scan(&mut self, watch: &mut impl Watch) -> bool {
        let survey = Walk::of(&self.config.path, &self.files, watch);
        let is_lost = |path: &str| survey.faults.keys().any(|directory| Path::new(path).starts_with(&**directory));
        let gone = self.files.keys().filter(|path| !survey.files.contains_key(*path) && !is_lost(path));
        self.former = gone.cloned().map(|path| (path, None)).collect();
        for (path, former) in &mut self.former {
            *former = self.files.remove(path);
        }
        for (path, place) in survey.files {
            let file = self.files.get_mut(&path);
            let before = file.is_some();
            match file.unwrap_or(&mut File::default()).look(&path, &place, self.detail) {
                Look::Same => {}
                Look::Different(now) => {
                    let former = self.files.insert(path.clone(), now);
                    self.former.push((path, former));
                }
                Look::Gone if before => {
                    let former = self.files.remove(&path);
                    self.former.push((path, former));
                }
                Look::Gone => {}
            }
        }
        let different = !self.former.is_empty() || survey.faults != self.faults;
        self.faults = survey.faults;
        different
    }

    /// Takes back what the last look found different of files that `incomplete` says are not yet what they will be.
    pub(super) fn take_back(&mut self, mut incomplete: impl FnMut(&Path, Found) -> bool) {
        for (path, former) in std::mem::take(&mut self.former) {
            let found = match self.files.get(&path) {
                None => Found::Gone,
                Some(file) if file.is_empty => Found::Empty,
                Some(_) => Found::Text,
            };
            if incomplete(Path::new(&*path), found) {
                match former {
                    Some(former) => self.files.insert(path, former),
                    None => self.files.remove(&path),
                };
            }
        }
    }

    /// Reads the path as a stream, which can be done once.
    pub(super) fn drain(&mut self) {
        let path = self.config.path.to_string_lossy().into_owned();
        match bytes_of(&self.config.path) {
            Ok(bytes) => self.put(&path, &bytes),
            Err(error) => {
                let fault = Fault::of_file(error.to_string(), "Pipe it to `-`, or write it to a file");
                self.faults.insert(path.into(), fault);
            }
        }
    }

    /// Takes `bytes` for the content of the file at `path`.
    pub(super) fn put(&mut self, path: &str, bytes: &[u8]) {
        let mut file = File::default();
        file.read(path, bytes, self.detail);
        self.files.insert(path.into(), file);
    }

    /// Whether the path, a directory or a file is out of reach now. Its return may make no event.
    pub(super) fn is_faulty(&self) -> bool {
        !self.faults.is_empty() || self.files.values().any(File::is_out_of_reach)
    }

    /// All that the files say, and where.
    pub(super) fn into_loaded(self) -> Loaded {
        let mut loaded = self.loaded();
        for (path, file) in self.files {
            // Nobody else has the manifest of a tree that is used up.
            let objects = file.manifest.and_then(Arc::into_inner).unwrap_or_default().objects;
            for Listed { key, at, fields, .. } in objects {
                loaded.places.0.entry(key).or_insert_with(|| Located { path: path.clone(), at, fields });
            }
        }
        loaded
    }

    /// All that the files say, with the endpoints of the command line.
    pub(super) fn loaded(&self) -> Loaded {
        let mut loaded = Loaded::default();
        let mut places: HashMap<&ObjectKey, (&str, &Listed)> = HashMap::new();
        for (path, file) in &self.files {
            file.problems(path, &mut loaded.problems);
            if !file.faults.is_empty() {
                loaded.unreadable.insert(path.clone());
            }
            let Some(manifest) = &file.manifest else { continue };
            for kind in &manifest.ignored {
                *loaded.ignored.entry(kind.clone()).or_default() += 1;
            }
            for (position, listed) in (0..).zip(&manifest.objects) {
                if let Some((first_path, first)) = places.get(&listed.key) {
                    loaded.problems.push(twice(path, listed, first_path, first));
                    continue;
                }
                places.insert(&listed.key, (path, listed));
                let age = match listed.object.created() {
                    Some(time) => Age::Created(time),
                    None => Age::listed(path.clone(), position),
                };
                loaded.objects.push((listed.object.clone(), age));
            }
        }
        let (slices, problems) = endpoint_flag::slices(&self.config.endpoints, |namespace, name| {
            match &places.get(&ObjectKey::service(namespace, name))?.1.object {
                Object::Service(service) => Some(service),
                _ => None,
            }
        });
        loaded.objects.extend(slices);
        loaded.problems.extend(problems);
        loaded.unreadable.extend(self.faults.keys().cloned());
        loaded.problems.extend(self.faults.iter().map(|(path, fault)| fault.problem(path, self.effect(path))));
        loaded.problems.sort();
        loaded
    }

    /// What follows where a directory cannot be read.
    fn effect(&self, path: &str) -> &'static str {
        let was_read = self.files.keys().any(|file| Path::new(&**file).starts_with(path));
        if was_read { "what was read before stays" } else { "nothing in it is used" }
    }
}

/// The problem of an object that another file holds too.
fn twice(path: &str, listed: &Listed, first_path: &str, first: &Listed) -> Problem {
    Problem {
        object: listed.key.clone(),
        field: "metadata.name".to_owned(),
        level: Level::Error,
        reason: Reason::Conflict,
        fault: format!(
            "the object is in {first_path}:{}:{} and again in {path}:{}:{}",
            first.at.line, first.at.column, listed.at.line, listed.at.column
        ),
        effect: "the first is used, and the second has no effect".to_owned(),
        mend: "Keep one of them".to_owned(),
    }
}

// === impl Unwatched ===

impl Watch for Unwatched {
    fn watch(&mut self, _: &Path) {}
    fn link(&mut self, _: &Path) {}
}

// === impl File ===

/// What became of a file.
enum Look {
    Same,
    Different(File),
    Gone,
}

impl File {
    /// Reads the file if it may have changed.
    fn look(&mut self, path: &str, place: &Path, detail: Detail) -> Look {
        let now = SystemTime::now();
        let metadata = match fs::metadata(place) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Look::Gone,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !place.is_symlink() => return Look::Gone,
            Err(error) => return self.fail(&error),
        };
        let seen = Seen::of(&metadata);
        if self.seen == Some(seen) {
            return Look::Same;
        }
        match bytes_of(place) {
            Ok(bytes) => {
                let settled = seen.is_settled(now).then_some(seen);
                let mut file = Self { seen: settled, ..self.clone() };
                if file.read(path, &bytes, detail) {
                    return Look::Different(file);
                }
                self.seen = settled;
                Look::Same
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Look::Gone,
            Err(error) => self.fail(&error),
        }
    }

    /// Reads what the file holds now. Tells whether that is something else than before.
    fn read(&mut self, path: &str, bytes: &[u8], detail: Detail) -> bool {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        let digest = Some(hasher.finish());
        if self.digest == digest {
            return false;
        }
        self.digest = digest;
        self.is_empty = bytes.is_empty();
        match manifest::read(bytes, detail) {
            Ok(manifest) => {
                for kind in &manifest.ignored {
                    debug!(file = path, kind, "object of no use");
                }
                self.manifest = Some(Arc::new(manifest));
                self.faults = Vec::new();
            }
            Err(faults) => self.faults = faults,
        }
        true
    }

    /// What the file is when it cannot be read itself.
    fn fail(&self, error: &io::Error) -> Look {
        let mend = match error.kind() {
            io::ErrorKind::FileTooLarge => "Split the file, or remove it",
            _ => "Make the file readable, or remove it",
        };
        let faults = vec![Fault::of_file(error.to_string(), mend)];
        if self.faults == faults {
            return Look::Same;
        }
        Look::Different(Self { manifest: self.manifest.clone(), faults, ..Self::default() })
    }

    /// Whether the file is there, but its bytes are not to be had.
    fn is_out_of_reach(&self) -> bool {
        self.digest.is_none()
    }

    fn problems(&self, path: &str, problems: &mut Vec<Problem>) {
        let effect = match &self.manifest {
            Some(manifest) if !manifest.objects.is_empty() => "the former objects of the file stay",
            _ => "no object of the file is used",
        };
        let manifest = self.manifest.iter().flat_map(|manifest| &manifest.faults);
        problems.extend(self.faults.iter().chain(manifest).map(|fault| fault.problem(path, effect)));
    }
}

/// What a file holds, unless that is more than any manifest.
fn bytes_of(place: &Path) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MiB", LARGEST >> 20));
    let file = fs::File::open(place)?;
    if file.metadata()?.len() > LARGEST {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // A stream does not know how long it is, and a file may grow.
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST { Err(too_large()) } else { Ok(bytes) }
}

// === impl Seen ===

impl Seen {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a change after `now` would show.
    fn is_settled(&self, now: SystemTime) -> bool {
        let seconds = self.changed.0.max(self.modified.0);
        let age = Duration::from_secs(seconds.try_into().unwrap_or_default()) + COARSE;
        // A time at the end of all time is anybody's to write.
        SystemTime::UNIX_EPOCH.checked_add(age).is_some_and(|settled| settled < now)
    }
}

// === impl Walk ===

impl<'w, W: Watch> Walk<'w, W> {
    fn of(root: &Path, known: &'w BTreeMap<Arc<str>, File>, watch: &'w mut W) -> Survey {
        let mut walk = Self { watch, known, directories: HashSet::new(), found: Survey::default() };
        let mend = "Make the directory readable, or name another";
        match fs::metadata(root) {
            Ok(metadata) if metadata.is_dir() => {
                walk.directory(root, &metadata).unwrap_or_else(|error| walk.fail(root, &error, mend));
            }
            Ok(metadata) if metadata.is_file() => walk.file(root),
            Ok(_) => {
                let fault = "it is neither a directory nor a file, and cannot be followed".to_owned();
                walk.found.faults.insert(root.to_string_lossy().into(), Fault::of_file(fault, "Write it to a file"));
            }
            Err(error) => walk.fail(root, &error, mend),
        }
        walk.found
    }

    /// Finds what is in a directory. Fails if it cannot be listed itself.
    fn directory(&mut self, directory: &Path, metadata: &fs::Metadata) -> io::Result<()> {
        if !self.directories.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        self.watch.watch(directory);
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.push((entry.path(), entry.file_type()));
            }
        }
        // Where links lead to one directory twice, the first path is the one that counts.
        paths.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (path, kind) in paths {
            if kind.as_ref().is_ok_and(FileType::is_symlink) {
                self.watch.link(&path);
            }
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => match self.directory(&path, &metadata) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => self.fail(&path, &error, REACH),
                    _ => {}
                },
                _ if is_manifest(&path) => self.file(&path),
                Err(error) if !kind.is_ok_and(|kind| kind.is_file()) && self.may_hide_files(&path, &error) => {
                    self.fail(&path, &error, REACH);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether what cannot be looked at may be a directory with manifests. A link that leads nowhere was never one, unless
    /// there were files behind it.
    fn may_hide_files(&self, path: &Path, error: &io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                path.is_symlink() && self.known.keys().any(|known| Path::new(&**known).starts_with(path))
            }
            _ => true,
        }
    }

    fn file(&mut self, path: &Path) {
        match self.found.files.entry(path.to_string_lossy().into()) {
            Entry::Vacant(free) => drop(free.insert(path.to_owned())),
            Entry::Occupied(taken) => {
                let fault = "another file has this name but for bytes that are not UTF-8".to_owned();
                let fault = Fault::of_file(fault, "Rename one of them").with_effect("only one of them is read");
                self.found.faults.insert(taken.key().clone(), fault);
            }
        }
    }

    fn fail(&mut self, directory: &Path, error: &io::Error, mend: &str) {
        self.found.faults.insert(directory.to_string_lossy().into(), Fault::of_file(error.to_string(), mend));
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_settled_when_its_times_are_past() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let seen = |modified, changed| Seen { file: (1, 1), size: 0, modified: (modified, 0), changed: (changed, 0) };
        for (modified, changed, settled) in [
            (0, 997, true),
            (0, 998, false),
            (998, 0, false),
            (-1, i64::MIN, true),
            (i64::MAX, 0, false),
            (0, i64::MAX, false),
        ] {
            assert_eq!(seen(modified, changed).is_settled(now), settled, "{modified} {changed}");
        }
    }
}
