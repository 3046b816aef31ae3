//! The annotations of hosts, rewrites and redirects.

use super::{Annotation, Group, Kind, Risk, Scope, Typed, value};

pub(super) const RECORDS: &[&Annotation] = &[
    &REWRITE_TARGET.annotation,
    &USE_REGEX.annotation,
    &APP_ROOT.annotation,
    &PERMANENT_REDIRECT.annotation,
    &PERMANENT_REDIRECT_CODE.annotation,
    &TEMPORAL_REDIRECT.annotation,
    &TEMPORAL_REDIRECT_CODE.annotation,
    &SSL_REDIRECT.annotation,
    &FORCE_SSL_REDIRECT.annotation,
    &PRESERVE_TRAILING_SLASH.annotation,
    &FROM_TO_WWW_REDIRECT.annotation,
    &SERVER_ALIAS.annotation,
    &RELATIVE_REDIRECTS,
    &USE_PORT_IN_REDIRECTS,
];

pub(in crate::translate) static REWRITE_TARGET: Typed<String> = Typed::new(
    Annotation::new("rewrite-target", Group::Redirects, Kind::Target).risk(Risk::Medium).doc(
        "The path that endpoints see; `$1` to `$9` are what the groups of the path matched, `$name` is a named group \
             or a variable, such as `$host`. It makes all paths of the host regular expressions.",
    ),
    value::rewrite_target,
);

pub(in crate::translate) static USE_REGEX: Typed<bool> = Typed::new(
    Annotation::new("use-regex", Group::Redirects, Kind::Bool).default("false").doc(
        "Makes all paths of the host regular expressions, exact ones and those of other Ingresses too: from the \
             start, ignoring case, the longest first.",
    ),
    value::bool,
);

pub(in crate::translate) static APP_ROOT: Typed<String> = Typed::new(
    Annotation::new("app-root", Group::Redirects, Kind::Path)
        .on(Scope::Host)
        .risk(Risk::Medium)
        .doc("Where `/` alone is redirected to, by 302."),
    value::path,
);

pub(in crate::translate) static PERMANENT_REDIRECT: Typed<String> = Typed::new(
    Annotation::new("permanent-redirect", Group::Redirects, Kind::Url).risk(Risk::Medium).doc(
        "Answers every request of its paths with a redirect to this URL. What no path of the host takes is answered \
             404; ingress-nginx redirects that too, where the oldest Ingress of the host has the annotation.",
    ),
    value::url,
);

pub(in crate::translate) static PERMANENT_REDIRECT_CODE: Typed<u16> = Typed::new(
    Annotation::new("permanent-redirect-code", Group::Redirects, Kind::Status)
        .default("301")
        .doc("The status of `permanent-redirect`, from 300 to 308."),
    |text| value::status(text, 300..=308),
);

pub(in crate::translate) static TEMPORAL_REDIRECT: Typed<String> = Typed::new(
    Annotation::new("temporal-redirect", Group::Redirects, Kind::Url)
        .risk(Risk::Medium)
        .doc("As `permanent-redirect`, by 302; it wins over that."),
    value::url,
);

pub(in crate::translate) static TEMPORAL_REDIRECT_CODE: Typed<u16> = Typed::new(
    Annotation::new("temporal-redirect-code", Group::Redirects, Kind::Status)
        .default("302")
        .doc("The status of `temporal-redirect`, from 300 to 307."),
    |text| value::status(text, 300..=307),
);

pub(in crate::translate) static SSL_REDIRECT: Typed<bool> = Typed::new(
    Annotation::new("ssl-redirect", Group::Tls, Kind::Bool).default("true").doc(
        "Sends plain requests to https by 308, where any Ingress of the host has a `tls` section; what no path \
             takes is answered 404, where ingress-nginx redirects that too.",
    ),
    value::bool,
);

pub(in crate::translate) static FORCE_SSL_REDIRECT: Typed<bool> = Typed::new(
    Annotation::new("force-ssl-redirect", Group::Tls, Kind::Bool)
        .default("false")
        .risk(Risk::Medium)
        .doc("Sends plain requests to https by 308, also without a `tls` section."),
    value::bool,
);

pub(in crate::translate) static PRESERVE_TRAILING_SLASH: Typed<bool> = Typed::new(
    Annotation::new("preserve-trailing-slash", Group::Tls, Kind::Bool)
        .default("false")
        .risk(Risk::Medium)
        .doc("Keeps a `/` at the end in redirects to https, where it is dropped otherwise."),
    value::bool,
);

pub(in crate::translate) static FROM_TO_WWW_REDIRECT: Typed<bool> = Typed::new(
    Annotation::new("from-to-www-redirect", Group::Redirects, Kind::Bool)
        .on(Scope::Host)
        .default("false")
        .doc("Redirects the host with `www.` to that without, or the other way around, by 308."),
    value::bool,
);

pub(in crate::translate) static SERVER_ALIAS: Typed<Vec<String>> = Typed::new(
    Annotation::new("server-alias", Group::Redirects, Kind::List)
        .on(Scope::Host)
        .risk(Risk::High)
        .partly("Names, and wildcards for one label; regular expressions (`~…`) are refused.")
        .doc("Further names of the host, between commas; of an Ingress with several hosts, of the first."),
    value::list,
);

static RELATIVE_REDIRECTS: Annotation = Annotation::new("relative-redirects", Group::Redirects, Kind::Bool)
    .default("false")
    .not_yet("Redirects have the scheme and the host")
    .doc("Leaves scheme and host out of redirects.");

static USE_PORT_IN_REDIRECTS: Annotation = Annotation::new("use-port-in-redirects", Group::Redirects, Kind::Bool)
    .default("false")
    .not_yet("Redirects to https have no port")
    .doc("Adds the port to redirects to https.");
