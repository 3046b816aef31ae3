//! Fits a tree to a Kubernetes type.
//!
//! As strict as an API server: a number is no string, and `on` is no string either. Fields that the type does not have
//! are noted with the one that was probably meant, since a misspelt field is otherwise lost in silence.

use std::{cell::RefCell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::node::{Entry, Node, Position, Trail, Value};

/// Why a tree does not fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Misfit {
    /// The field: `spec.rules[0].host`.
    pub(super) field: String,
    /// Where it is; unknown while the error is on its way out of the field.
    pub(super) at: Option<Position>,
    pub(super) what: String,
    /// The same, but of the value only its kind: what may be told of a secret.
    pub(super) discreet: String,
    /// Whether quotes would mend it.
    pub(super) unquoted: bool,
}

/// A field that the type does not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unknown {
    pub(super) field: String,
    pub(super) at: Position,
    /// The field of a similar name.
    pub(super) meant: Option<&'static str>,
}

/// Makes a `T` of a tree. What the tree has and `T` has not is added to `unknown`.
pub(super) fn fit<'de, T: Deserialize<'de>>(node: &'de Node, unknown: &mut Vec<Unknown>) -> Result<T, Misfit> {
    let notes = RefCell::new(Vec::new());
    let walk = Walk { node, trail: &Trail::Root, notes: &notes, key: None };
    let fitted = T::deserialize(walk).map_err(|misfit| misfit.at(&Trail::Root, node));
    unknown.append(&mut notes.into_inner());
    fitted
}

/// A node on the way through the tree.
struct Walk<'de, 't> {
    node: &'de Node,
    trail: &'t Trail<'t>,
    notes: &'t RefCell<Vec<Unknown>>,
    /// If it is the value of a struct's field: where its key is, and which fields the struct has.
    key: Option<(Position, &'static [&'static str])>,
}

struct Items<'de, 't> {
    walk: Walk<'de, 't>,
    rest: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

struct Entries<'de, 't> {
    walk: Walk<'de, 't>,
    rest: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
    /// The fields of the struct that the mapping is for; none if it may have any key.
    fields: Option<&'static [&'static str]>,
}

// === impl Misfit ===

impl Misfit {
    fn new(what: String) -> Self {
        let discreet = "the field cannot have this value".to_owned();
        Self { field: String::new(), at: None, what, discreet, unquoted: false }
    }

    /// Says where it is, unless that is known better.
    fn at(mut self, trail: &Trail<'_>, node: &Node) -> Self {
        if self.at.is_none() {
            self.at = Some(node.at);
            self.field = trail.to_string();
        }
        self
    }
}

impl Error for Misfit {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::new(what.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let scalar = matches!(
            found,
            Unexpected::Bool(_) | Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_)
        );
        let unquoted = scalar && matches!(&*expected, "a string" | "a borrowed string");
        let kind = match found {
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a mapping",
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Signed(_) | Unexpected::Unsigned(_) => "an integer",
            Unexpected::Float(_) => "a number",
            Unexpected::Str(_) => "a string",
            _ => "something else",
        };
        let told = match found {
            Unexpected::Unit | Unexpected::Option | Unexpected::Seq | Unexpected::Map => kind.to_owned(),
            found => found.to_string(),
        };
        let what = |found: &str| format!("{expected} was expected, and this is {found}");
        Self { unquoted, discreet: what(kind), ..Self::new(what(&told)) }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Misfit {}

// === impl Walk ===

impl<'de> Walk<'de, '_> {
    fn map<V: Visitor<'de>>(self, fields: Option<&'static [&'static str]>, visitor: V) -> Result<V::Value, Misfit> {
        match &self.node.value {
            Value::Map(entries) => {
                visitor.visit_map(Entries { rest: entries.iter(), walk: self, current: None, fields })
            }
            _ => self.deserialize_any(visitor),
        }
    }
}

impl<'de> Deserializer<'de> for Walk<'de, '_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => visitor.visit_seq(Items { rest: items.iter().enumerate(), walk: self }),
            Value::Map(_) => self.map(None, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.map(Some(fields), visitor)
    }

    /// An API server takes nothing for an empty string.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.node.value {
            Value::Null => visitor.visit_borrowed_str(""),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    /// Called for the value of a field that the type does not have.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if let (Some((at, fields)), Trail::Key(_, key)) = (self.key, self.trail) {
            let near = fields.iter().map(|field| (strsim::damerau_levenshtein(field, key), *field)).min();
            let meant = near.filter(|(edits, field)| *edits <= 1 + field.len() / 4).map(|(_, field)| field);
            self.notes.borrow_mut().push(Unknown { field: self.trail.to_string(), at, meant });
        }
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier
    }
}

// === impl Items ===

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Misfit;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Misfit> {
        let Some((index, node)) = self.rest.next() else { return Ok(None) };
        let trail = Trail::Index(self.walk.trail, index);
        let item = seed.deserialize(Walk { node, trail: &trail, notes: self.walk.notes, key: None });
        item.map(Some).map_err(|misfit| misfit.at(&trail, node))
    }
}

// === impl Entries ===

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Misfit;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Misfit> {
        self.current = self.rest.next();
        let Some(entry) = self.current else { return Ok(None) };
        let key: StrDeserializer<'de, Misfit> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        let Some(entry) = self.current.take() else {
            return Err(Misfit::new("a value was asked for before its key".to_owned()));
        };
        let trail = Trail::Key(self.walk.trail, &entry.key);
        let key = self.fields.map(|fields| (entry.at, fields));
        let value = seed.deserialize(Walk { node: &entry.value, trail: &trail, notes: self.walk.notes, key });
        value.map_err(|misfit| misfit.at(&trail, &entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::node::documents, *};
    use crate::api::{Ingress, Service};

    fn fitted<T: for<'de> Deserialize<'de>>(text: &str) -> (Result<T, Misfit>, Vec<Unknown>) {
        let documents = documents(text.as_bytes()).expect("the text is YAML");
        let mut unknown = Vec::new();
        (fit(&documents[0], &mut unknown), unknown)
    }

    #[test]
    fn a_value_that_does_not_fit_is_told_with_field_and_place() {
        let misfit = |text| {
            let misfit = fitted::<Ingress>(text).0.expect_err("it does not fit");
            let at = misfit.at.expect("the place is known");
            (misfit.field, (at.line, at.column), misfit.what, misfit.unquoted)
        };
        assert_eq!(
            misfit("metadata:\n  annotations:\n    a/weight: 30\n"),
            (
                "metadata.annotations[a/weight]".to_owned(),
                (3, 15),
                "a string was expected, and this is integer `30`".to_owned(),
                true
            )
        );
        assert_eq!(
            misfit("spec:\n  rules:\n  - host: x\n  - http: {paths: {path: /}}\n"),
            (
                "spec.rules[1].http.paths".to_owned(),
                (4, 19),
                "a sequence was expected, and this is a mapping".to_owned(),
                false
            )
        );
        assert_eq!(misfit("metadata: {annotations: {a: on}}").2, "a string was expected, and this is boolean `true`");
        assert_eq!(misfit("metadata: {creationTimestamp: soon}").0, "metadata.creationTimestamp");
        assert_eq!(misfit("metadata: [1]").0, "metadata");
    }

    #[test]
    fn numbers_and_names_of_ports_are_told_apart() {
        let text = "spec: {ports: [{port: 80, targetPort: 8080}, {port: 81, targetPort: web}]}";
        let (service, unknown) = fitted::<Service>(text);
        let ports = service.unwrap().spec.unwrap().ports.unwrap();
        assert_eq!(ports[0].target_port, Some(crate::api::IntOrString::Int(8080)));
        assert_eq!(ports[1].target_port, Some(crate::api::IntOrString::String("web".to_owned())));
        assert_eq!(unknown, []);
    }

    #[test]
    fn nothing_is_an_empty_string() {
        let (ingress, _) = fitted::<Ingress>("metadata:\n  annotations:\n    a:\nspec:\n  rules:\n");
        let ingress = ingress.unwrap();
        assert_eq!(ingress.metadata.annotations.unwrap()["a"], "");
        assert_eq!(ingress.spec.unwrap().rules, None);
    }

    #[test]
    fn a_misspelt_field_is_noted_with_the_one_that_was_meant() {
        let text = "metadata: {labels: {any: thing}}\nspec:\n  rules:\n  - http:\n      paths:\n      - pathtype: Exact\n        elephants: 3\n";
        let (ingress, unknown) = fitted::<Ingress>(text);
        ingress.unwrap();
        let position = |line| Position { line, column: 9 };
        assert_eq!(
            unknown,
            [
                Unknown {
                    field: "spec.rules[0].http.paths[0].pathtype".to_owned(),
                    at: position(6),
                    meant: Some("pathType")
                },
                Unknown { field: "spec.rules[0].http.paths[0].elephants".to_owned(), at: position(7), meant: None },
            ]
        );
    }
}
