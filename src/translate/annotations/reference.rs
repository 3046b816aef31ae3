//! The reference page of the annotations.

use std::fmt::Write;

use super::{ALIBABA, Annotation, Group, Prefixes, SERIN, Support, registry};

/// The reference of all annotations, as Markdown.
#[must_use]
pub fn reference() -> String {
    let alibaba: Vec<_> = ALIBABA.iter().map(|prefix| format!("`{prefix}/`")).collect();
    let mut page = HEAD.replace("ALIBABA", &alibaba.join(", "));
    let mut groups: Vec<Group> = registry().map(|annotation| annotation.group).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        page += &format!("\n## {}\n\n", group.title());
        page += "| annotation | value | default | what it does | here |\n|---|---|---|---|---|\n";
        for annotation in registry().filter(|annotation| annotation.group == group) {
            write_row(&mut page, annotation);
        }
    }
    page
}

const HEAD: &str = "\
# Annotations

Printed by `serin annotations`. Every annotation of ingress-nginx is in this list, with what becomes of it:

* **honoured**: it does what it does in ingress-nginx;
* **in part**, **differs**: it does something else, and the list says what;
* **not yet**: it is reported on the object, and the list says what holds meanwhile. Where leaving it out would open a
  path to more clients than the object allows, the path is closed: it answers 503;
* **refused**: it is reported on the object, with what to do instead.

Names without a prefix here have `nginx.ingress.kubernetes.io/`, which `--annotations-prefix` changes. Values are texts;
numbers and booleans stand in quotes. Alibaba's prefixes are ALIBABA.

A canary takes its own canary annotations and those of its Services; all else comes from the stable Ingress.
[canaries.md](canaries.md) says how it is decided who gets one.

A default backend beside rules takes what no path of the hosts of those rules does, with the annotations of the Ingress;
requests for other hosts are not its. The default backend of an Ingress without rules takes what is left on any host
that no rule names, and is neither rewritten nor redirected by annotations of that Ingress, as in ingress-nginx.
";

fn write_row(page: &mut String, annotation: &Annotation) {
    let mut name = match annotation.prefixes {
        Prefixes::Nginx | Prefixes::Query => format!("`{}`", annotation.name),
        Prefixes::Serin | Prefixes::Cookie => format!("`{SERIN}/{}`", annotation.name),
        Prefixes::Kubernetes => format!("`kubernetes.io/{}`", annotation.name),
    };
    if let Some(alias) = annotation.alias {
        name += &format!(", or `{alias}`");
    }
    match annotation.prefixes {
        Prefixes::Query => name += &format!(", also under `{SERIN}/` and Alibaba's prefixes"),
        Prefixes::Cookie => name += ", also under ingress-nginx's and Alibaba's prefixes",
        Prefixes::Nginx | Prefixes::Serin | Prefixes::Kubernetes => {}
    }
    let default = if annotation.default.is_empty() { String::new() } else { format!("`{}`", annotation.default) };
    let here = match annotation.support {
        Support::Honoured => "honoured".to_owned(),
        Support::Partly(which) => format!("in part: {which}"),
        Support::Differs(how) => format!("differs: {how}."),
        Support::NotYet(meanwhile) => format!("not yet: {meanwhile}."),
        Support::NotYetClosed => "not yet: paths that need it are closed.".to_owned(),
        Support::Refused { why, mend } => format!("refused: {why}. {mend}."),
    };
    let cells = [name, annotation.kind.name(), default, annotation.doc.to_owned(), here];
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_page_in_the_tree_is_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/annotations.md");
        if std::env::var_os("SERIN_BLESS").is_some() {
            fs::write(&path, reference()).expect("the page can be written");
        }
        let page = fs::read_to_string(&path).expect("the page is there");
        assert!(page == reference(), "docs/annotations.md is stale: `serin annotations` prints it");
    }
}
