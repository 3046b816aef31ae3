//! The objects in the text of one file.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::{
    fit::{Misfit, Unknown, fit},
    node::{Malformed, Node, Position, Value, documents},
};
use crate::{
    api::{ConfigMap, DEFAULT_NAMESPACE, EndpointSlice, Ingress, IngressClass, Namespace, Object, Secret, Service},
    key::{Kind, ObjectKey},
    problem::{Level, Problem, Reason},
};

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    /// The objects in their order.
    pub(super) objects: Vec<Listed>,
    /// What is wrong, but leaves the rest of the file as it is meant.
    pub(super) faults: Vec<Fault>,
    /// The kinds of objects of no use, once for each object.
    pub(super) ignored: Vec<String>,
}

/// An object and where it begins.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: ObjectKey,
    pub(super) object: Object,
    pub(super) at: Position,
    /// Where its fields are, if that is asked for.
    pub(super) fields: HashMap<String, Position>,
}

/// Whether the places of fields are wanted. They take more memory than the objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Detail {
    Objects,
    Fields,
}

/// What is wrong in a file: a problem that does not know yet which file it is, nor what follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    /// The object that it is in; none for the file as a whole.
    object: Option<ObjectKey>,
    field: String,
    at: Option<Position>,
    level: Level,
    reason: Reason,
    fault: String,
    /// What follows, if that does not depend on what was read before.
    effect: Option<String>,
    mend: String,
}

/// Reads the objects in the text of a file.
///
/// # Errors
///
/// All that keeps the file from being what was meant. Then nothing of it can be used: with half of its objects gone, the
/// others might do what nobody asked for.
pub(super) fn read(bytes: &[u8], detail: Detail) -> Result<Manifest, Vec<Fault>> {
    let documents = documents(bytes).map_err(|malformed| vec![Fault::from(malformed)])?;
    let mut reading = Reading { manifest: Manifest::default(), fatal: Vec::new(), detail };
    for document in &documents {
        reading.document(document, None);
    }
    if reading.fatal.is_empty() { Ok(reading.manifest) } else { Err(reading.fatal) }
}

struct Reading {
    manifest: Manifest,
    fatal: Vec<Fault>,
    detail: Detail,
}

/// The version and kind that a list says its items are of.
#[derive(Clone, Copy)]
struct Listing<'n> {
    api_version: &'n str,
    kind: &'n str,
}

// === impl Fault ===

impl Fault {
    /// A fault of a file as a whole.
    pub(super) fn of_file(fault: String, mend: &str) -> Self {
        Self {
            object: None,
            field: "file".to_owned(),
            at: None,
            level: Level::Error,
            reason: Reason::Unreadable,
            fault,
            effect: None,
            mend: mend.to_owned(),
        }
    }

    /// The fault with what follows, which does not depend on what was read before.
    pub(super) fn with_effect(self, effect: &str) -> Self {
        Self { effect: Some(effect.to_owned()), ..self }
    }

    /// The problem, of a file at `path`; `effect` is what follows if the fault itself does not know.
    pub(super) fn problem(&self, path: &str, effect: &str) -> Problem {
        let place = self.at.map(|at| format!("{path}:{}:{}", at.line, at.column));
        let fault = match (&self.object, place) {
            (Some(_), Some(place)) => format!("{} ({place})", self.fault),
            _ => self.fault.clone(),
        };
        Problem {
            object: self.object.clone().unwrap_or_else(|| ObjectKey::manifest(path)),
            field: self.field.clone(),
            level: self.level,
            reason: self.reason,
            fault,
            effect: self.effect.as_deref().unwrap_or(effect).to_owned(),
            mend: self.mend.clone(),
        }
    }

    /// A fault at a place that is no field of an object that has a name.
    fn at(at: Position, fault: String, mend: &str) -> Self {
        Self { field: at.to_string(), at: Some(at), ..Self::of_file(fault, mend) }
    }

    fn misfit(misfit: Misfit, kind: Kind, object: Option<ObjectKey>) -> Self {
        let mend = if misfit.unquoted {
            "Write the value in quotes".to_owned()
        } else if kind == Kind::Secret && misfit.field.starts_with("data") {
            "Write the value in base64, or as it is under `stringData`".to_owned()
        } else {
            format!("Write the field as `kubectl explain {}` describes it", kind.as_str().to_lowercase())
        };
        // Nothing of a Secret is shown, its annotations included: `kubectl apply` keeps a copy of the values there.
        let what = if kind == Kind::Secret { misfit.discreet } else { misfit.what };
        let Some(at) = misfit.at else { return Self::of_file(what, &mend) };
        match object {
            Some(object) => {
                Self { object: Some(object), field: misfit.field, at: Some(at), ..Self::of_file(what, &mend) }
            }
            None => Self::at(at, format!("`{}` of {kind}: {what}", misfit.field), &mend),
        }
    }

    fn unknown(unknown: Unknown, kind: Kind, object: &ObjectKey) -> Self {
        let mend = match unknown.meant {
            Some(meant) => format!("Write `{meant}`, if that is what is meant"),
            None => "Remove it, or look for its right name and place".to_owned(),
        };
        Self {
            object: Some(object.clone()),
            at: Some(unknown.at),
            field: unknown.field,
            level: Level::Warning,
            reason: Reason::InvalidValue,
            effect: Some("it has no effect".to_owned()),
            ..Self::of_file(format!("{kind} has no such field here"), &mend)
        }
    }
}

impl From<Malformed> for Fault {
    fn from(Malformed { at, what }: Malformed) -> Self {
        let mend = if what.contains("tab") {
            "Indent with spaces"
        } else if what.contains("mapping values") {
            "Indent the line like its neighbours, and write a value that contains `: ` in quotes"
        } else if what.contains("duplicate") {
            "Write each key once"
        } else if what.contains("unknown value") {
            "Write a value that begins with `*` in quotes"
        } else if what.contains("UTF-8") {
            "Save the file as UTF-8"
        } else {
            "Mend the YAML there or shortly before"
        };
        Self::at(at, what, mend)
    }
}

// === impl Reading ===

impl Reading {
    /// Reads a document, or an item of a list.
    fn document(&mut self, node: &Node, listing: Option<Listing<'_>>) {
        if !matches!(node.value, Value::Map(_)) {
            let what = "an object is a mapping, and this is something else".to_owned();
            self.fatal.push(Fault::at(node.at, what, "Write `apiVersion`, `kind`, `metadata` and so on"));
            return;
        }
        let api_version = node.text("apiVersion").or(listing.map(|listing| listing.api_version));
        let kind = node.text("kind").or(listing.map(|listing| listing.kind));
        match (api_version, kind) {
            (Some(api_version), Some(kind)) => self.object(node, api_version, kind),
            (None, None) => {
                self.manifest.ignored.push("no kind".to_owned());
                self.manifest.faults.push(Fault {
                    level: Level::Warning,
                    effect: Some("it is left out".to_owned()),
                    ..Fault::at(
                        node.at,
                        "it has neither `apiVersion` nor `kind`, so it is no object".to_owned(),
                        "Write them, or keep the file elsewhere",
                    )
                });
            }
            (api_version, _) => {
                let missing = if api_version.is_none() { "apiVersion" } else { "kind" };
                let what = format!("the object has no `{missing}`, or it is no text");
                self.fatal.push(Fault::at(node.at, what, "Write it"));
            }
        }
    }

    fn object(&mut self, node: &Node, api_version: &str, kind: &str) {
        match (api_version, kind) {
            ("v1", "ConfigMap") => self.fit::<ConfigMap>(node, Kind::ConfigMap),
            ("v1", "Namespace") => self.fit::<Namespace>(node, Kind::Namespace),
            ("v1", "Secret") => self.fit::<Secret>(node, Kind::Secret),
            ("v1", "Service") => self.fit::<Service>(node, Kind::Service),
            ("discovery.k8s.io/v1", "EndpointSlice") => self.fit::<EndpointSlice>(node, Kind::EndpointSlice),
            ("networking.k8s.io/v1", "Ingress") => self.fit::<Ingress>(node, Kind::Ingress),
            ("networking.k8s.io/v1", "IngressClass") => self.fit::<IngressClass>(node, Kind::IngressClass),
            _ if kind.ends_with("List")
                && matches!(node.get("items").map(|node| &node.value), Some(Value::List(_))) =>
            {
                self.list(node, api_version, kind);
            }
            _ => {
                if let Some((kind, version)) = former(api_version, kind) {
                    self.manifest.faults.push(Fault {
                        object: name(node, kind),
                        field: "apiVersion".to_owned(),
                        at: Some(node.at),
                        reason: Reason::Unsupported,
                        effect: Some("the object has no effect".to_owned()),
                        ..Fault::of_file(
                            format!("Kubernetes has no {kind} of `{api_version}` any more"),
                            &format!("Write it as `{version}`, for example with `kubectl convert`"),
                        )
                    });
                }
                self.manifest.ignored.push(format!("{kind} ({api_version})"));
            }
        }
    }

    /// Reads the items of a list; those of a list of one kind need not repeat it.
    fn list(&mut self, node: &Node, api_version: &str, kind: &str) {
        let Some(Value::List(items)) = node.get("items").map(|items| &items.value) else { return };
        let kind = kind.strip_suffix("List").unwrap_or(kind);
        let listing = (!kind.is_empty()).then_some(Listing { api_version, kind });
        for item in items {
            self.document(item, listing);
        }
    }

    fn fit<T: DeserializeOwned + Into<Object>>(&mut self, node: &Node, kind: Kind) {
        let mut unknown = Vec::new();
        let object: Object = match fit::<T>(node, &mut unknown) {
            Ok(object) => object.into(),
            Err(misfit) => return self.fatal.push(Fault::misfit(misfit, kind, name(node, kind))),
        };
        let key = object.key();
        if let Some((field, fault)) = misnamed(&key) {
            let at = node.get("metadata").unwrap_or(node).at;
            let what = format!("`metadata.{field}` of {kind} {fault}");
            return self.fatal.push(Fault::at(at, what, "Write a name as `kubectl apply` takes it"));
        }
        self.manifest.faults.extend(unknown.into_iter().map(|unknown| Fault::unknown(unknown, kind, &key)));
        let fields = if self.detail == Detail::Fields { node.fields() } else { HashMap::new() };
        self.manifest.objects.push(Listed { key, object, at: node.at, fields });
    }
}

/// The name of an object that has one, before it is known whether the rest fits.
fn name(node: &Node, kind: Kind) -> Option<ObjectKey> {
    let metadata = node.get("metadata")?;
    let namespace = match kind {
        Kind::IngressClass | Kind::Namespace => "",
        _ => metadata.text("namespace").unwrap_or(DEFAULT_NAMESPACE),
    };
    let key = ObjectKey::new(kind, namespace, metadata.text("name")?);
    misnamed(&key).is_none().then_some(key)
}

/// What keeps a name from being one, by the rules for DNS subdomains and labels, without those on first and last
/// characters.
fn misnamed(key: &ObjectKey) -> Option<(&'static str, String)> {
    let fault = |text: &str, limit: usize, dots: bool| {
        if text.len() > limit {
            return Some(format!("is longer than {limit} characters"));
        }
        let strange = text.chars().find(|c| !(matches!(c, 'a'..='z' | '0'..='9' | '-') || dots && *c == '.'));
        strange.map(|c| format!("contains {c:?}"))
    };
    if key.name.is_empty() {
        return Some(("name", "is missing".to_owned()));
    }
    let name = fault(&key.name, 253, true).map(|fault| ("name", fault));
    name.or_else(|| fault(&key.namespace, 63, false).map(|fault| ("namespace", fault)))
}

/// The version to write for an object of a kind that is read, but of a version that Kubernetes has left behind.
fn former(api_version: &str, kind: &str) -> Option<(Kind, &'static str)> {
    let (group, _) = api_version.split_once('/')?;
    match (group, kind) {
        ("extensions" | "networking.k8s.io", "Ingress") => Some((Kind::Ingress, "networking.k8s.io/v1")),
        ("networking.k8s.io", "IngressClass") => Some((Kind::IngressClass, "networking.k8s.io/v1")),
        ("discovery.k8s.io", "EndpointSlice") => Some((Kind::EndpointSlice, "discovery.k8s.io/v1")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        let manifest = read(text.as_bytes(), Detail::Objects).expect("the text is read");
        manifest.objects.iter().map(|listed| listed.key.to_string()).collect()
    }

    fn problems(text: &str) -> Vec<String> {
        let faults = read(text.as_bytes(), Detail::Objects).map_or_else(|fatal| fatal, |manifest| manifest.faults);
        faults.iter().map(|fault| fault.problem("web.yaml", "EFFECT").to_string()).collect()
    }

    #[test]
    fn all_kinds_are_read_from_documents_and_lists() {
        let text = "
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: s, namespace: shop}}
- {apiVersion: v1, kind: Pod, metadata: {name: p}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
- apiVersion: v1
  kind: List
  items:
  - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
apiVersion: networking.k8s.io/v1
kind: IngressList
items:
- metadata: {name: a}
- metadata: {name: b, namespace: shop}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1}
addressType: IPv4
endpoints: []
";
        let expected = [
            "Service default/web",
            "Secret shop/s",
            "ConfigMap default/c",
            "Namespace shop",
            "Ingress default/a",
            "Ingress shop/b",
            "IngressClass nginx",
            "EndpointSlice default/web-1",
        ];
        assert_eq!(keys(text), expected);
        assert_eq!(read(text.as_bytes(), Detail::Objects).unwrap().ignored, ["Pod (v1)"]);
    }

    #[test]
    fn empty_files_and_documents_hold_nothing() {
        for text in ["", "\n", "# nothing\n", "---\n---\n# a\n---\n", "null\n", "...\n"] {
            assert!(keys(text).is_empty(), "{text:?}");
            assert!(problems(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn kinds_of_other_groups_are_not_ours() {
        let text = "apiVersion: example.com/v1\nkind: Ingress\nmetadata: {name: a}\n";
        assert!(keys(text).is_empty());
        assert!(problems(text).is_empty());
        assert_eq!(read(text.as_bytes(), Detail::Objects).unwrap().ignored, ["Ingress (example.com/v1)"]);
    }

    #[test]
    fn malformed_text_is_a_problem_of_the_file() {
        assert_eq!(
            problems("a: 1\nb: c: d\n"),
            [
                "Manifest web.yaml: line 2, column 5: mapping values are not allowed in this context; EFFECT. Indent the \
              line like its neighbours, and write a value that contains `: ` in quotes."
            ]
        );
        assert_eq!(
            problems("a:\n\t- b\n"),
            ["Manifest web.yaml: line 2, column 2: tabs disallowed within this context (block indentation); EFFECT. \
              Indent with spaces."]
        );
    }

    #[test]
    fn every_misfit_is_a_problem_of_its_object_and_spoils_the_file() {
        let text = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations:
    nginx.ingress.kubernetes.io/canary-weight: 30
---
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: v1
kind: Service
metadata: {namespace: shop}
---
apiVersion: v1
kind: Service
metadata: [x]
---
kind: Service
metadata: {name: x}
---
- 1
";
        assert_eq!(
            problems(text),
            [
                "Ingress shop/web: metadata.annotations[nginx.ingress.kubernetes.io/canary-weight]: a string was \
                 expected, and this is integer `30` (web.yaml:8:48); EFFECT. Write the value in quotes.",
                "Manifest web.yaml: line 16, column 11: `metadata.name` of Service is missing; EFFECT. Write a name as \
                 `kubectl apply` takes it.",
                "Manifest web.yaml: line 20, column 11: `metadata` of Service: ObjectMeta was expected, and this is a \
                 list; EFFECT. Write the field as `kubectl explain service` describes it.",
                "Manifest web.yaml: line 22, column 1: the object has no `apiVersion`, or it is no text; EFFECT. Write \
                 it.",
                "Manifest web.yaml: line 25, column 1: an object is a mapping, and this is something else; EFFECT. \
                 Write `apiVersion`, `kind`, `metadata` and so on.",
            ]
        );
    }

    #[test]
    fn what_probably_is_a_mistake_is_told_and_the_rest_is_used() {
        let text = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingresClassName: nginx
---
apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: old}
---
replicas: 3
";
        assert_eq!(keys(text), ["Ingress default/web"]);
        assert_eq!(
            problems(text),
            [
                "Ingress default/web: spec.ingresClassName: Ingress has no such field here (web.yaml:6:3); it has no \
                 effect. Write `ingressClassName`, if that is what is meant.",
                "Ingress default/old: apiVersion: Kubernetes has no Ingress of `extensions/v1beta1` any more \
                 (web.yaml:8:1); the object has no effect. Write it as `networking.k8s.io/v1`, for example with \
                 `kubectl convert`.",
                "Manifest web.yaml: line 12, column 1: it has neither `apiVersion` nor `kind`, so it is no object; it \
                 is left out. Write them, or keep the file elsewhere.",
            ]
        );
    }
}
