//! The text of a manifest as a tree in which every value knows its place.
//!
//! Manifests are read in two steps: text to this tree, then the tree to a Kubernetes type (see [`fit`](super::fit)). So
//! the kind of an object can be looked at before the rest, items of a `List` are read like documents of their own, and a
//! value that does not fit is reported with its line and column, however deep it lies.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned, UserMessageFormatter, options};

/// A value and its place in the text.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// An integer that fits no `i64` is a `Float`.
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping, its place, and its value.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    pub(super) at: Position,
    pub(super) key: String,
    pub(super) value: Node,
}

/// A place in a text, counted from 1, in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// The way from the root to a node: `spec.rules[0].host`, `metadata.annotations[serin.dev/canary]`.
pub(super) enum Trail<'t> {
    Root,
    Key(&'t Trail<'t>, &'t str),
    Index(&'t Trail<'t>, usize),
}

/// What keeps a text from being a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Malformed {
    pub(super) at: Position,
    pub(super) what: String,
}

/// Reads the documents of a YAML or JSON text. Empty ones are left out.
pub(super) fn documents(bytes: &[u8]) -> Result<Vec<Node>, Malformed> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            return Err(Malformed { at: Position::after(&valid), what: "it is not UTF-8 text".to_owned() });
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The limits keep a small file from becoming a big tree (aliases), and are far above what a dump of a cluster needs.
    let options = options! {
        budget: serde_saphyr::budget! {
            max_events: 100_000_000,
            max_nodes: 50_000_000,
            max_documents: 1_000_000,
            max_total_scalar_bytes: 1 << 30,
            max_total_comment_bytes: 1 << 30,
            max_buffered_comment_events: 100_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
        },
        with_snippet: false,
        emit_comments: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let at = error.location().map_or(Position::START, Position::from);
        Malformed { at, what: said(&error, at) }
    })
}

/// What the parser says, without the place, which is given apart, and without a word of the text, which may be that of
/// a Secret.
fn said(error: &serde_saphyr::Error, at: Position) -> String {
    let error = error.without_snippet();
    match error {
        serde_saphyr::Error::AliasError { error, .. } => return said(error, at),
        serde_saphyr::Error::DuplicateMappingKey { .. } => return "duplicate mapping key".to_owned(),
        serde_saphyr::Error::UnsupportedTag { .. } => return "unsupported tag".to_owned(),
        serde_saphyr::Error::NonFiniteFloat { .. } => return "the number is not finite".to_owned(),
        serde_saphyr::Error::SerdeInvalidType { expected, .. }
        | serde_saphyr::Error::SerdeInvalidValue { expected, .. } => return format!("{expected} was expected"),
        _ => {}
    }
    let error = error.render_with_formatter(&UserMessageFormatter);
    let place = format!(" at line {}, column {}", at.line, at.column);
    error.strip_suffix(&place).unwrap_or(&error).to_owned()
}

// === impl Node ===

impl Node {
    /// The value of a key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The text of a key, if this is a mapping that has one.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The place of every field below this node, by the way to it.
    pub(super) fn fields(&self) -> HashMap<String, Position> {
        let mut fields = HashMap::new();
        self.add_fields(&Trail::Root, &mut fields);
        fields
    }

    fn add_fields(&self, trail: &Trail<'_>, fields: &mut HashMap<String, Position>) {
        match &self.value {
            Value::Map(entries) => {
                for entry in entries {
                    let trail = Trail::Key(trail, &entry.key);
                    fields.insert(trail.to_string(), entry.at);
                    entry.value.add_fields(&trail, fields);
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let trail = Trail::Index(trail, index);
                    fields.insert(trail.to_string(), item.at);
                    item.add_fields(&trail, fields);
                }
            }
            _ => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { at: spanned.referenced.into(), value: spanned.value })
    }
}

// === impl Value ===

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "no field of a Kubernetes object has such an integer")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    #[expect(clippy::cast_precision_loss, reason = "no field of a Kubernetes object has such an integer")]
    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    #[expect(clippy::cast_precision_loss, reason = "no field of a Kubernetes object has such an integer")]
    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Node>()? {
            map.push(Entry { at: key.referenced.into(), key: key.value, value });
        }
        Ok(Value::Map(map))
    }
}

// === impl Trail ===

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            // Names of annotations contain what separates fields.
            Self::Key(parent, key) if key.contains(['.', '/']) => write!(f, "{parent}[{key}]"),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

// === impl Position ===

impl Position {
    const START: Self = Self { line: 1, column: 1 };

    /// The place where the next character after `text` stands.
    fn after(text: &str) -> Self {
        let last = text.rsplit('\n').next().unwrap_or_default();
        let line = text.bytes().filter(|byte| *byte == b'\n').count();
        Self { line: line as u64 + 1, column: last.chars().count() as u64 + 1 }
    }
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        // The parser has no place for what is wrong with a text as a whole.
        if location.line() == 0 { Self::START } else { Self { line: location.line(), column: location.column() } }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn malformed(text: &[u8]) -> (u64, u64, String) {
        let malformed = documents(text).expect_err("the text is malformed");
        (malformed.at.line, malformed.at.column, malformed.what)
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "# head\n---\na: 1\nb:\n  - x\n  - c: yes\n---\n---\nd: \"2\"\n";
        let documents = documents(text.as_bytes()).unwrap();
        assert_eq!(documents.len(), 2);
        let b = documents[0].get("b").unwrap();
        let Value::List(items) = &b.value else { panic!("{b:?}") };
        let c = items[1].get("c").unwrap();
        assert_eq!((c.at.line, c.at.column, &c.value), (6, 8, &Value::Bool(true)));
        let Value::Map(entries) = &documents[1].value else { panic!("it is a mapping") };
        assert_eq!((entries[0].at.line, entries[0].at.column), (9, 1));
        assert_eq!(documents[1].text("d"), Some("2"));
    }

    #[test]
    fn json_is_read_with_its_tabs_and_escapes() {
        let text = b"{\n\t\"a\": \"x\\/y\\ud83d\\ude00\",\n\t\"b\":[1,-2.5,null,true]\n}\n";
        let documents = documents(text).unwrap();
        assert_eq!(documents[0].text("a"), Some("x/y\u{1f600}"));
        let Value::List(items) = &documents[0].get("b").unwrap().value else { panic!("it is a list") };
        let values = items.iter().map(|item| item.value.clone()).collect::<Vec<_>>();
        assert_eq!(values, [Value::Integer(1), Value::Float(-2.5), Value::Null, Value::Bool(true)]);
    }

    #[test]
    fn what_is_malformed_is_told_with_its_place() {
        for (text, line, column) in [
            ("a: [1, 2\nb: 3\n", 2, 2),
            ("a:\n\t- b\n", 2, 2),
            ("a: b: c\n", 1, 5),
            ("a: 1\na: 2\n", 2, 1),
            ("x: *y\n", 1, 4),
            ("{\"a\": 1,,}", 1, 9),
            ("a: 1\n---\nb: ]\n", 3, 4),
        ] {
            let (at_line, at_column, what) = malformed(text.as_bytes());
            assert_eq!((at_line, at_column), (line, column), "{text:?}: {what}");
            assert!(!what.contains(" at line "), "{what}");
        }
        assert_eq!(malformed(b"a: 1\nb: \xff\n"), (2, 4, "it is not UTF-8 text".to_owned()));
    }
}
