//! The same bytes to our readers, to the running gateway, to hyper, to Node's strict parser and to nginx: what we accept, all
//! read alike.
//!
//! Requests are smuggled where two parsers in a row see different requests in the same bytes. So the rule is: a request
//! that we accept has the same method, target, framing and body for each peer, and so have the requests after it; or the
//! peer refuses it, which smuggles nothing, and is listed in [`STRICTER`] with its reason.
//!
//! `differential/*.wire` holds the inputs, each with what we make of it: the requests that we read, then how the
//! connection ends. These lines are also the list of what we refuse on purpose; `SERIN_BLESS=1` writes them anew.

mod ours;
mod peers;
mod seen;
mod teller;
mod whole;

use self::{
    peers::{Nginx, Node, Server, hyper},
    seen::{End, Reading},
    whole::Whole,
};
use crate::case::{Case, cases, write_cases};
use serin::http::relay::is_preface;
use std::path::PathBuf;

/// Inputs of which a peer takes less than we do, and why that is well.
const STRICTER: &[(&str, &[&str], &str)] = &[
    ("hyper", &["visible-bytes", "angle-brackets"], "wants some visible bytes of targets escaped; nginx does not"),
    ("hyper", &["not-utf8-in-target"], "wants targets in UTF-8"),
    ("node", &["utf8-in-target", "not-utf8-in-target"], "wants targets in ASCII"),
    ("node", &["unknown-method", "method-with-underscore"], "has a list of methods"),
    ("nginx", &["options-asterisk"], "does not serve `*`"),
    (
        "node",
        &[
            "connection-close",
            "connection-close-in-list",
            "connection-empty-elements",
            "version-1.0-then-more",
            "length-1.0",
            "no-length-1.0",
        ],
        "takes what follows the last request for an attack, and then not even that request; we never read it",
    ),
    ("node", &["length-too-short"], "refuses what follows, as we do, and then does not answer the request before it"),
];

#[test]
fn what_we_read_is_what_the_corpus_says() {
    let mut faults = Vec::new();
    for (path, mut cases) in corpus() {
        for case in &mut cases {
            let reading = ours::read(&case.bytes()).to_string();
            if reading != case.reading {
                faults.push(format!(
                    "{} {}: read as\n{reading}but expected\n{}",
                    path.display(),
                    case.name,
                    case.reading
                ));
                case.reading = reading;
            }
        }
        if std::env::var("SERIN_BLESS").as_deref() == Ok("1") {
            write_cases(&path, &cases);
            faults.clear();
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The corpus says how our readers read; this holds the whole program to it, with its sockets and buffers.
#[test]
fn what_reaches_an_endpoint_is_what_we_read() {
    let whole = Whole::start();
    let mut faults = Vec::new();
    for case in corpus().into_iter().flat_map(|(_, cases)| cases) {
        let (name, bytes) = (&case.name, case.bytes());
        // Where the readers of heads see a version that is none, the gateway goes on in HTTP/2.
        if is_preface(&bytes) == Some(true) {
            continue;
        }
        let ours = ours::read(&bytes);
        for theirs in whole.read(&bytes, &ours) {
            let alike = match (&ours.end, &theirs.end) {
                // Of the reason, the client is told the status.
                (End::Refused(why), End::Refused(status)) => why.starts_with(status.as_str()),
                // Who begins with what is no HTTP is not answered in it: the connection has ended.
                (End::Refused(why), End::Open) => why.starts_with("400"),
                (ours, theirs) => ours == theirs,
            };
            if ours.requests != theirs.requests || !alike {
                faults.push(format!("{name}: we read\n{ours}but the client is told, or the endpoint gets\n{theirs}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(whole.end(), [], "nothing follows a request unseen");
}

#[test]
fn hyper_reads_what_we_accept_alike() {
    let server = hyper();
    assert_alike("hyper", &server);
}

#[test]
fn node_reads_what_we_accept_alike() {
    let Some(node) = Node::start() else { return };
    assert_alike("node", &node);
}

#[test]
fn nginx_reads_what_we_accept_alike() {
    let Some(nginx) = Nginx::start() else { return };
    assert_alike("nginx", &nginx);
}

#[test]
fn a_difference_is_found() {
    let ours = ours::read(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    let mut theirs = ours.clone();
    theirs.requests[0].body = b"y".to_vec();
    assert!(ours.differs_from(&theirs).is_some(), "another body");
    for end in [End::Open, End::Closed] {
        theirs = Reading { requests: Vec::new(), end };
        assert!(ours.differs_from(&theirs).is_some(), "a request fewer");
    }
    theirs = ours.clone();
    theirs.requests.push(ours.requests[0].clone());
    assert!(ours.differs_from(&theirs).is_some(), "a request more");
    theirs = Reading { requests: Vec::new(), end: End::Refused("400".into()) };
    assert!(ours.differs_from(&theirs).is_none() && ours.exceeds(&theirs), "refused by them");
    let ours = Reading { end: End::Refused("400".into()), ..ours };
    assert!(ours.differs_from(&theirs).is_none() && ours.exceeds(&theirs), "refused by them, and what follows by us");
    theirs = Reading { requests: ours.requests.clone(), ..theirs };
    assert!(ours.differs_from(&theirs).is_none() && !ours.exceeds(&theirs), "refused alike");
}

fn corpus() -> Vec<(PathBuf, Vec<Case>)> {
    cases("differential", "wire")
}

/// Holds a peer to our readings of the whole corpus.
fn assert_alike(peer: &str, server: &dyn Server) {
    let mut faults = Vec::new();
    for case in corpus().into_iter().flat_map(|(_, cases)| cases) {
        let (name, bytes) = (&case.name, case.bytes());
        let (ours, theirs) = (ours::read(&bytes), server.read(&bytes));
        let listed = STRICTER.iter().any(|(other, names, _)| *other == peer && names.contains(&name.as_str()));
        if let Some(fault) = ours.differs_from(&theirs) {
            faults.push(format!("{name}: {fault}; we read\n{ours}{peer} reads\n{theirs}"));
        } else if ours.exceeds(&theirs) && !listed {
            faults.push(format!("{name}: {peer} refuses what we accept; we read\n{ours}{peer} reads\n{theirs}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
