//! What the endpoint sees other than the client sent it: the difference of the two heads, whatever made it.

use serde::Serialize;

use super::Imagined;
use crate::http::{self, FieldNames, Limits, RequestEdits, RequestView, write_request};

/// A part of the head that is changed on the way, or that the gateway says itself, if only what the client said as well.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Change {
    /// The name of a field, or `path`.
    pub(super) name: String,
    /// Its values as the client sends them; none where it is added.
    pub(super) from: Vec<String>,
    /// Its values as the endpoint sees them; none where it is removed.
    pub(super) to: Vec<String>,
}

/// What the gateway says of the client. A proxy that is believed may have written the same.
const OURS: [&str; 7] = [
    "X-Real-IP",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Scheme",
];

/// What the head is to be read by that is written for the endpoint: longer than that of the client, and ours.
const WRITTEN: Limits = Limits { head: 1 << 20, line: 1 << 20, target: 1 << 20, fields: 1024, names: FieldNames::Any };

/// The changes of a request by `edits`, in the order of what the endpoint sees, and then what it does not see.
pub(super) fn changes(imagined: &Imagined, view: RequestView<'_>, edits: &RequestEdits<'_>) -> Vec<Change> {
    let mut bytes = Vec::new();
    write_request(view, edits, &mut bytes);
    let mut head = http::Request::new();
    let sent = imagined.fields.iter().map(|(name, value)| (name.clone(), value.clone()));
    let (seen, target) = match head.read(&bytes, &WRITTEN) {
        Ok(Some(_)) => {
            let seen = head.view(&bytes);
            (seen.fields().map(|(name, value)| (text(name), text(value))).collect(), text(seen.target()))
        }
        // Nothing is written that cannot be read.
        _ => (Vec::new(), text(&bytes)),
    };
    let mut changes = Vec::new();
    if target != imagined.target {
        changes.push(Change { name: "path".to_owned(), from: vec![imagined.target.clone()], to: vec![target] });
    }
    changes.extend(difference(&sent.collect::<Vec<_>>(), &seen));
    changes
}

/// The fields whose values differ, and ours.
fn difference(sent: &[(String, String)], seen: &[(String, String)]) -> Vec<Change> {
    let values = |fields: &[(String, String)], name: &str| -> Vec<String> {
        let of_name = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.clone()).collect()
    };
    let mut changes: Vec<Change> = Vec::new();
    for (name, _) in seen.iter().chain(sent) {
        if changes.iter().any(|change| change.name.eq_ignore_ascii_case(name)) {
            continue;
        }
        changes.push(Change { name: name.clone(), from: values(sent, name), to: values(seen, name) });
    }
    let ours = |name: &str| OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name));
    changes.retain(|change| change.from != change.to || ours(&change.name));
    changes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::Forwarded, route::Scheme};

    /// The changes of a request for `/cart` with these fields, as lines.
    fn lines(fields: &[(&str, &str)], edits: &RequestEdits<'_>) -> Vec<String> {
        let host = [("Host", "shop.example")];
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let imagined = Imagined {
            server_name: String::new(),
            method: "GET".to_owned(),
            scheme: Scheme::Http,
            port: 80,
            target: "/cart".to_owned(),
            fields: host.iter().chain(fields).map(owned).collect(),
            client: [192, 0, 2, 1].into(),
        };
        let (bytes, mut head) = (imagined.to_bytes(), http::Request::new());
        head.read(&bytes, &Limits::REQUEST).expect("the request can be served").expect("it is whole");
        let shown = |change: Change| format!("{}: {:?} > {:?}", change.name, change.from, change.to);
        changes(&imagined, head.view(&bytes), edits).into_iter().map(shown).collect()
    }

    #[test]
    fn a_plain_request_is_not_changed_but_for_what_the_edits_say() {
        assert_eq!(
            lines(&[("Accept", "*/*")], &RequestEdits::default()),
            [r#"X-Forwarded-Host: [] > ["shop.example"]"#]
        );
        let edits = RequestEdits {
            target: Some(b"/basket"),
            host: Some(b"web.internal"),
            forwarded: Forwarded { client: b"192.0.2.1", chain: b"192.0.2.1", proto: b"http", port: b"80", host: b"" },
            request_id: b"1",
            ..RequestEdits::default()
        };
        assert_eq!(
            lines(&[], &edits),
            [
                r#"path: ["/cart"] > ["/basket"]"#,
                r#"Host: ["shop.example"] > ["web.internal"]"#,
                r#"X-Request-ID: [] > ["1"]"#,
                r#"X-Real-IP: [] > ["192.0.2.1"]"#,
                r#"X-Forwarded-For: [] > ["192.0.2.1"]"#,
                r#"X-Forwarded-Host: [] > ["shop.example"]"#,
                r#"X-Forwarded-Port: [] > ["80"]"#,
                r#"X-Forwarded-Proto: [] > ["http"]"#,
                r#"X-Forwarded-Scheme: [] > ["http"]"#,
                r#"X-Scheme: [] > ["http"]"#,
            ]
        );
    }

    #[test]
    fn what_is_dropped_and_what_is_renamed_shows() {
        let sent = [
            ("X-Forwarded-For", "203.0.113.9"),
            ("X_Real_IP", "203.0.113.9"),
            ("Connection", "close, X-Internal"),
            ("X-Internal", "1"),
            ("X-Kept", "a"),
            ("x-kept", "b"),
            ("Proxy", "evil"),
        ];
        let edits = RequestEdits {
            forwarded: Forwarded { chain: b"192.0.2.1", ..Forwarded::default() },
            ..RequestEdits::default()
        };
        assert_eq!(
            lines(&sent, &edits),
            [
                r#"X-Original-Forwarded-For: [] > ["203.0.113.9"]"#,
                r#"X-Forwarded-For: ["203.0.113.9"] > ["192.0.2.1"]"#,
                r#"X-Forwarded-Host: [] > ["shop.example"]"#,
                r#"X_Real_IP: ["203.0.113.9"] > []"#,
                r#"Connection: ["close, X-Internal"] > []"#,
                r#"X-Internal: ["1"] > []"#,
                r#"Proxy: ["evil"] > []"#,
            ]
        );
    }

    #[test]
    fn what_the_gateway_says_shows_where_the_client_has_said_the_same() {
        let edits = RequestEdits {
            forwarded: Forwarded { proto: b"https", host: b"www.example", ..Forwarded::default() },
            ..RequestEdits::default()
        };
        let shown = lines(&[("x-forwarded-proto", "https"), ("X-Scheme", "http"), ("Accept", "*/*")], &edits);
        assert_eq!(
            shown,
            [
                r#"X-Forwarded-Host: [] > ["www.example"]"#,
                r#"X-Forwarded-Proto: ["https"] > ["https"]"#,
                r#"X-Forwarded-Scheme: [] > ["https"]"#,
                r#"X-Scheme: ["http"] > ["https"]"#,
            ]
        );
    }
}
