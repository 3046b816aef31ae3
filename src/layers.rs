//! Holds the crate to its layers.
//!
//! Cargo keeps crates from using each other in circles. This test does the same for modules, so
//! that the whole gateway can stay one crate and still be read from one end to the other.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each module and the modules that it may use, lowest first.
///
/// A module may use only modules that are listed above it, so there can be no circle. `*` stands
/// for all of them. The header of `lib.rs` has the same rows, with what each module is for.
const MODULES: &str = "
    key:
    problem:    key
    draw:
    http:
    live:
    lifecycle:
    metrics:
    route:      draw http key
    upstream:   draw http key live metrics
    tls:        key live problem
    api:        key
    store:      api key
    translate:  api http key problem route store tls upstream
    source:     api key lifecycle metrics problem store
    pipeline:   key lifecycle live metrics problem route source store tls translate upstream
    proxy:      draw http key lifecycle live metrics route tls upstream
    leader:     lifecycle metrics
    status:     api key leader live metrics problem translate
    rollout:    api key leader metrics
    admission:  api key leader live metrics problem store tls translate
    admin:      key lifecycle live metrics problem route tls upstream
    config:     admin admission http key leader metrics pipeline proxy rollout source status translate
    app:        *
    cli:        api app config draw http key metrics problem route source store tls translate upstream
";

/// Outside crates that only some modules may name; `*` stands for the rest of the name.
const FOREIGN: &[(&str, &[&str])] = &[
    ("anyhow", &["app", "cli"]),
    ("clap", &["cli", "config"]),
    ("fastrand", &["draw"]),
    ("h2", &["proxy"]),
    ("hickory_resolver", &["upstream"]),
    ("k8s_openapi", &["api"]),
    ("kube", &["admission", "api", "app", "leader", "rollout", "source", "status"]),
    ("pingora*", &["app", "proxy"]),
    ("prometheus", &["metrics"]),
    ("rcgen", &["tls"]),
    ("rustls", &["app", "proxy", "tls"]),
    ("tokio_rustls", &["proxy"]),
    ("x509_parser", &["tls"]),
];

#[test]
fn modules_are_listed_above_those_that_use_them() {
    let mut above = BTreeSet::new();
    for (module, may_use) in modules() {
        let below: Vec<_> = may_use.difference(&above).collect();
        assert!(below.is_empty(), "`{module}` uses {below:?}, listed below it or not at all");
        above.insert(module);
    }
}

#[test]
fn modules_use_only_what_they_may() {
    let modules = modules().into_iter().collect();
    let faults: Vec<_> = files().iter().flat_map(|file| file.faults(&modules)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn there_is_no_way_around_the_rows() {
    let modules = modules().into_iter().collect();
    let faults = |path: &str, text: &str| File::of(Path::new(path), text).expect("it is read").faults(&modules);
    for (path, text) in [
        ("draw.rs", "fn f() { crate::proxy::serve(); }"),
        ("draw.rs", "use crate::{key, proxy::{a, b}};"),
        ("draw.rs", "use crate::{{proxy::a}};"),
        ("draw.rs", "use crate::*; fn f() { proxy::serve(); }"),
        ("draw.rs", "use crate::{*};"),
        ("live.rs", "use super::*; fn f() { cli::main(); }"),
        ("problem.rs", "use crate as root; fn f() { root::cli::main(); }"),
        ("problem.rs", "use crate::{self as root};"),
        ("problem.rs", "extern crate self as root;"),
        ("route/host.rs", "use super::super::*;"),
        ("route/host.rs", "use super::super as root;"),
        ("key.rs", "mod parts { use super::super::cli; }"),
        ("key.rs", "mod tests { use crate::cli; }"),
        ("key.rs", "mod tests;"),
        ("key.rs", "fn f() { clap::parse(); }"),
    ] {
        assert_ne!(faults(path, text), Vec::<String>::new(), "{path}: {text}");
    }
    for (path, text) in [
        ("route/host.rs", "use super::*; use crate::{http, key::Hostname};"),
        ("route/host.rs", "use super::super::key as names;"),
        ("key.rs", "mod parts { use super::*; } pub(crate) fn f() -> u8 { 1_u16 as u8 }"),
        ("key.rs", "#[cfg(test)] mod tests { use crate::cli; }"),
        ("key.rs", "#[cfg(test)] mod tests;"),
        ("key.rs", "#[cfg(test)] pub(crate) mod tests;"),
    ] {
        assert_eq!(faults(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn the_architecture_has_the_same_rows() {
    let header = include_str!("lib.rs").lines().filter_map(|line| line.strip_prefix("//! | `"));
    let rows = header.map(|row| {
        let mut cells = row.trim_end_matches(" |").split(" | ");
        let module = cells.next().expect("a row begins with a module").trim_end_matches('`');
        let (purpose, may_use) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        assert!(!purpose.is_empty(), "`{module}` has a purpose");
        assert_eq!(cells.next(), None, "the row of `{module}` has three cells");
        (module, may_use.trim_matches('`').replace('–', ""))
    });
    let expected = MODULES.lines().filter_map(|line| line.trim().split_once(':'));
    let expected = expected.map(|(module, may_use)| (module, may_use.trim().to_owned()));
    assert_eq!(rows.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn files_say_what_they_are() {
    let mut faults = Vec::new();
    for file in files() {
        if !file.headed {
            faults.push(format!("{}: does not start with `//!`", file.path.display()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Reads [`MODULES`].
fn modules() -> Vec<(&'static str, BTreeSet<&'static str>)> {
    let mut modules = Vec::new();
    for line in MODULES.lines().filter(|line| !line.trim().is_empty()) {
        let (module, may_use) = line.split_once(':').expect("each line has a colon");
        let may_use = if may_use.trim() == "*" {
            modules.iter().map(|(above, _)| *above).collect()
        } else {
            may_use.split_whitespace().collect()
        };
        modules.push((module.trim(), may_use));
    }
    modules
}

/// What the rules need to know of a source file.
struct File {
    path: PathBuf,
    /// The module below the crate root that the file is in.
    module: String,
    /// The modules below the crate root that the file names.
    uses: BTreeSet<String>,
    /// All other words in the file.
    words: BTreeSet<String>,
    /// What would hide the use of a module.
    hidden: Vec<String>,
    headed: bool,
}

/// Reads all files below `src/` but the crate roots and tests.
fn files() -> Vec<File> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut dirs = vec![src.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.extend(File::read(&src, &path));
            }
        }
    }
    files
}

// === impl File ===

impl File {
    /// Reads a file, unless it is a crate root, this one, or tests.
    fn read(src: &Path, path: &Path) -> Option<Self> {
        let path_in_src = path.strip_prefix(src).expect("the file is in src");
        Self::of(path_in_src, &fs::read_to_string(path).expect("the file can be read"))
    }

    /// As [`read`](Self::read), with the text of the file.
    fn of(path_in_src: &Path, text: &str) -> Option<Self> {
        let stem = path_in_src.with_extension("");
        let modules: Vec<_> = stem.iter().map(|name| name.to_string_lossy()).collect();
        if ["lib", "main", "layers"].contains(&&*modules[0]) || modules.contains(&"tests".into()) {
            return None;
        }

        let mut file = Self {
            path: path_in_src.to_owned(),
            module: modules[0].to_string(),
            uses: BTreeSet::new(),
            words: BTreeSet::new(),
            hidden: Vec::new(),
            headed: text.starts_with("//!"),
        };
        file.scan(text.parse().expect("the file is Rust"), modules.len());
        Some(file)
    }

    /// What the file does that it may not.
    fn faults(&self, modules: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
        let path = self.path.display();
        let Some(may_use) = modules.get(self.module.as_str()) else {
            return vec![format!("{path}: `{}` is not in MODULES", self.module)];
        };
        let may_not_use = self.uses.iter().filter(|used| **used != self.module && !may_use.contains(used.as_str()));
        let mut faults: Vec<_> = may_not_use.map(|used| format!("{path}: may not use `{used}`")).collect();
        for (foreign, modules) in FOREIGN {
            if self.names(foreign) && !modules.contains(&self.module.as_str()) {
                faults.push(format!("{path}: may not name `{foreign}`"));
            }
        }
        faults.extend(self.hidden.iter().map(|hidden| format!("{path}: {hidden}")));
        faults
    }

    /// Whether the file names an outside crate, or one of those that begin like it where it ends in `*`.
    fn names(&self, foreign: &str) -> bool {
        match foreign.strip_suffix('*') {
            Some(start) => self.words.iter().any(|word| word.starts_with(start)),
            None => self.words.contains(foreign),
        }
    }

    /// Notes the words in `tokens`, which are in a module `depth` levels below the crate root.
    fn scan(&mut self, tokens: TokenStream, depth: usize) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.scan(group.stream(), depth),
                TokenTree::Ident(word) if word == "mod" => {
                    let of_tests = matches!(tokens.get(at), Some(TokenTree::Ident(name)) if name == "tests");
                    if of_tests && !is_for_tests(&tokens[..at - 1]) {
                        self.hidden.push("`mod tests` is not behind `#[cfg(test)]`".to_owned());
                    }
                    // Tests may use anything; any other inline module is one level further down.
                    if let [TokenTree::Ident(_), TokenTree::Group(body), ..] = &tokens[at..] {
                        if !of_tests {
                            self.scan(body.stream(), depth + 1);
                        }
                        at += 2;
                    }
                }
                TokenTree::Ident(word) if word == "crate" => {
                    at = self.scan_path(&tokens, at, 0);
                }
                TokenTree::Ident(word) if word == "super" => {
                    at = self.scan_path(&tokens, at, depth - 1);
                }
                TokenTree::Ident(word) => {
                    self.words.insert(word.to_string());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Notes the module that a path names, if it is below the crate root.
    ///
    /// The path goes on at `tokens[at]`, and what is before names a module at `depth`. Returns the
    /// place in `tokens` to go on from. The crate root must not get another name, and what is in it must not be
    /// named by `*`: its modules could then be named without a path.
    fn scan_path(&mut self, tokens: &[TokenTree], mut at: usize, mut depth: usize) -> usize {
        while let [TokenTree::Punct(a), TokenTree::Punct(b), next, ..] = &tokens[at..]
            && (a.as_char(), b.as_char()) == (':', ':')
        {
            match next {
                TokenTree::Ident(word) if word == "super" => depth = depth.saturating_sub(1),
                TokenTree::Ident(word) if depth == 0 => {
                    self.uses.insert(word.to_string());
                    return at + 3;
                }
                TokenTree::Group(list) if depth == 0 && list.delimiter() == Delimiter::Brace => {
                    self.uses.extend(first_words(list.stream()));
                    return at + 3;
                }
                TokenTree::Punct(star) if depth == 0 && star.as_char() == '*' => {
                    self.uses.insert("*".to_owned());
                    return at + 3;
                }
                _ => return at + 2,
            }
            at += 3;
        }
        if depth == 0 && matches!(tokens.get(at), Some(TokenTree::Ident(word)) if word == "as" || word == "self") {
            self.hidden.push("the crate root has another name".to_owned());
        }
        at
    }
}

/// Whether what is `before` a module, its visibility included, lets it be for tests alone.
fn is_for_tests(before: &[TokenTree]) -> bool {
    let is_pub = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word == "pub");
    let before = match before {
        [attributes @ .., word, TokenTree::Group(_)] if is_pub(word) => attributes,
        [attributes @ .., word] if is_pub(word) => attributes,
        all => all,
    };
    matches!(before, [.., TokenTree::Punct(hash), TokenTree::Group(attribute)]
        if hash.as_char() == '#' && attribute.to_string().replace(' ', "") == "[cfg(test)]")
}

/// The first word of each path in a list: `a` and `b` in `{a, b::{c, d}}`, and `*` in `{*}`.
fn first_words(list: TokenStream) -> Vec<String> {
    let mut words = Vec::new();
    let mut first = true;
    for token in list {
        match token {
            TokenTree::Ident(word) if first => {
                words.push(word.to_string());
                first = false;
            }
            TokenTree::Group(list) if first => words.extend(first_words(list.stream())),
            TokenTree::Punct(punct) if punct.as_char() == ',' => first = true,
            TokenTree::Punct(star) if first && star.as_char() == '*' => words.push("*".to_owned()),
            _ => {}
        }
    }
    words
}
