//! What peers send, in a text that can be read.
//!
//! A case starts with its name in brackets. Where it is bytes, they are its lines put together without their ends, in
//! which `\r`, `\n`, `\t`, `\0`, `\\` and `\xNN` stand for what they do in Rust. Lines that start with `=` say what comes
//! of it. Lines that start with `#` are comments, which belong to the case below them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// An input, and what we make of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub name: String,
    /// The lines that say what is sent.
    pub lines: Vec<String>,
    /// The lines that say what comes of it.
    pub reading: String,
    /// What stands in the file before the reading.
    source: String,
}

// === impl Case ===

impl Case {
    /// The bytes that its lines are.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| unescape(line)).collect()
    }
}

/// All cases of a directory by their files, which have this extension.
pub(crate) fn cases(dir: &str, of: &str) -> Vec<(PathBuf, Vec<Case>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(dir);
    let mut files: Vec<_> = fs::read_dir(dir)
        .expect("the corpus can be listed")
        .map(|entry| entry.expect("the corpus can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == of))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "there is a corpus");
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("the corpus can be read");
            let cases = parse(&text);
            (path, cases)
        })
        .collect()
}

/// Writes the cases of a file.
pub(crate) fn write_cases(path: &Path, cases: &[Case]) {
    let mut text = String::new();
    for case in cases {
        let _ = writeln!(text, "{}{}", case.source, case.reading);
    }
    fs::write(path, text.trim_end().to_owned() + "\n").expect("the corpus can be written");
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut before = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            before += line;
            before.push('\n');
        } else if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let source = format!("{}{line}\n", std::mem::take(&mut before));
            cases.push(Case { name: name.to_owned(), lines: Vec::new(), reading: String::new(), source });
        } else if let Some(case) = cases.last_mut() {
            if line.starts_with('=') {
                case.reading += line;
                case.reading.push('\n');
            } else if !line.is_empty() {
                case.lines.push(line.to_owned());
                case.source += line;
                case.source.push('\n');
            }
        }
    }
    cases
}

/// The bytes of a line.
pub(crate) fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().expect("an escape goes on") {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let mut digit = || rest.next().and_then(|digit| (digit as char).to_digit(16)).expect("two digits");
                u8::try_from(digit() << 4 | digit()).expect("two digits are a byte")
            }
            other => panic!("no escape: {}", other as char),
        });
    }
    bytes
}
