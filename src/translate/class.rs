//! Whether an Ingress is ours.

use crate::{
    api::{CLASS_ANNOTATION, DEFAULT_CLASS, Ingress, IngressClass},
    key::ObjectKey,
    problem::{Level, Problem, Reason},
    store::Snapshot,
};

use super::Options;

/// Whose an Ingress is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    Ours,
    Others,
    /// Of a class that is not there.
    Unknown(String),
    /// It names no class.
    Nobodys,
}

/// Says whose an Ingress is, by the rules of ingress-nginx: the field, then the annotation, then the default.
///
/// An Ingress in a file has met no API server, so for these the default class is looked up here.
pub(super) fn whose(snapshot: &Snapshot, options: &Options, ingress: &Ingress) -> Whose {
    if let Some(name) = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref()) {
        return match snapshot.ingress_class(name) {
            Some(class) => ours_if(is_ours(options, class)),
            None if name == &*options.ingress_class && options.standalone && no_class(snapshot) => Whose::Ours,
            None => Whose::Unknown(name.to_owned()),
        };
    }
    let annotations = ingress.metadata.annotations.as_ref();
    if let Some(name) = annotations.and_then(|annotations| annotations.get(CLASS_ANNOTATION)) {
        return ours_if(*name == *options.ingress_class);
    }
    if options.watch_ingress_without_class {
        return Whose::Ours;
    }
    if !options.standalone {
        return Whose::Nobodys;
    }
    let mut default_classes = snapshot.ingress_classes().filter(|class| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.and_then(|annotations| annotations.get(DEFAULT_CLASS)).is_some_and(|value| value == "true")
    });
    match default_classes.next() {
        Some(class) => ours_if(is_ours(options, class)),
        None => Whose::Nobodys,
    }
}

/// Whether a class is ours: by its controller, or also by its name (`--ingress-class-by-name`).
fn is_ours(options: &Options, class: &IngressClass) -> bool {
    let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
    let named = class.metadata.name.as_deref() == Some(&*options.ingress_class);
    (options.ingress_class_by_name && named) || controller == Some(&*options.controller_class)
}

fn ours_if(ours: bool) -> Whose {
    if ours { Whose::Ours } else { Whose::Others }
}

fn no_class(snapshot: &Snapshot) -> bool {
    snapshot.ingress_classes().next().is_none()
}

// === impl Whose ===

impl Whose {
    /// What is wrong with an Ingress that nobody serves.
    pub(super) fn problem(&self, options: &Options, ingress: &ObjectKey) -> Option<Problem> {
        let ours = &options.ingress_class;
        let (level, fault, mend) = match self {
            Self::Ours | Self::Others => return None,
            Self::Unknown(name) => (
                Level::Missing,
                format!("There is no IngressClass `{name}`"),
                format!("Create it with the controller `{}`, or name a class that exists", options.controller_class),
            ),
            Self::Nobodys => (
                Level::Warning,
                "The Ingress names no class, and no class is the default".to_owned(),
                format!("Write `ingressClassName: {ours}`, or start with `--watch-ingress-without-class`"),
            ),
        };
        Some(Problem {
            object: ingress.clone(),
            field: "spec.ingressClassName".to_owned(),
            level,
            reason: Reason::NotFound,
            fault,
            effect: "The Ingress is not served".to_owned(),
            mend,
        })
    }
}
