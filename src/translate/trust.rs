//! What is wrong with the settings of whose word about a client is believed.

use crate::{
    http::forwarded::Trust,
    key::ObjectKey,
    problem::{Level, Problem, Reason},
};

const PROXIES: &str = "--proxy-real-ip-cidr";

/// The problems of such settings, which stand on the command line or in the environment.
#[must_use]
pub fn trust_problems(trust: &Trust) -> Vec<Problem> {
    let problem = |field: &str, level, reason, fault: &str, effect: &str, mend: &str| Problem {
        object: ObjectKey::command_line(),
        field: field.to_owned(),
        level,
        reason,
        fault: fault.to_owned(),
        effect: effect.to_owned(),
        mend: mend.to_owned(),
    };
    let mut problems = Vec::new();
    if trust.believes() && trust.proxies.is_empty() {
        problems.push(problem(
            PROXIES,
            Level::Error,
            Reason::Unsafe,
            "Proxies are to be believed, and none are named",
            "Nobody is believed, where ingress-nginx would believe everybody: whoever connects is the client",
            "Name the addresses that your proxies connect from, as in --proxy-real-ip-cidr 10.0.0.0/8",
        ));
    }
    if trust.believes() && trust.proxies.is_everybody() {
        problems.push(problem(
            PROXIES,
            Level::Warning,
            Reason::Unsafe,
            "Everybody is believed",
            "A client can say that it comes from any address, and so get around what depends on it",
            "Name the addresses that your proxies connect from, and no others",
        ));
    }
    if !trust.believes() && !trust.proxies.is_empty() {
        problems.push(problem(
            PROXIES,
            Level::Warning,
            Reason::Unsupported,
            "Proxies are named, and nothing that they could say is believed",
            "It has no effect: whoever connects is the client",
            "Add --use-proxy-protocol, --use-forwarded-headers or --enable-real-ip; or leave it out",
        ));
    }
    if trust.full_chain && !trust.forwarded_headers {
        problems.push(problem(
            "--compute-full-forwarded-for",
            Level::Warning,
            Reason::Unsupported,
            "There is no --use-forwarded-headers",
            "It has no effect: X-Forwarded-For is the client's address alone",
            "Add --use-forwarded-headers, or leave it out",
        ));
    }
    if trust.real_ip && trust.proxy_protocol {
        problems.push(problem(
            "--enable-real-ip",
            Level::Warning,
            Reason::Unsupported,
            "There is --use-proxy-protocol, too",
            "It has no effect: PROXY headers say who the client is",
            "Leave one of them out",
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Level and field of each problem.
    fn found(trust: &Trust) -> Vec<(Level, String)> {
        trust_problems(trust).into_iter().map(|problem| (problem.level, problem.field)).collect()
    }

    fn named(proxies: &str, trust: Trust) -> Trust {
        Trust { proxies: proxies.parse().expect("the list is good"), ..trust }
    }

    #[test]
    fn to_believe_nobody_or_everybody_is_a_problem() {
        let flags = [
            Trust { proxy_protocol: true, ..Trust::default() },
            Trust { forwarded_headers: true, ..Trust::default() },
            Trust { real_ip: true, ..Trust::default() },
        ];
        for trust in flags {
            for (proxies, level) in [
                ("", Some(Level::Error)),
                ("0.0.0.0/0", Some(Level::Warning)),
                ("10.0.0.0/8,::/0", Some(Level::Warning)),
                ("10.0.0.0/8", None),
            ] {
                let expected: Vec<_> = level.map(|level| (level, PROXIES.to_owned())).into_iter().collect();
                assert_eq!(found(&named(proxies, trust.clone())), expected, "{proxies:?} {trust:?}");
            }
        }
    }

    #[test]
    fn what_has_no_effect_is_a_problem() {
        assert_eq!(found(&Trust::default()), []);
        assert_eq!(found(&named("10.0.0.0/8", Trust::default())), [(Level::Warning, PROXIES.to_owned())]);
        let full_chain = Trust { full_chain: true, ..Trust::default() };
        assert_eq!(found(&full_chain), [(Level::Warning, "--compute-full-forwarded-for".to_owned())]);
        let both = named("10.0.0.0/8", Trust { real_ip: true, proxy_protocol: true, ..Trust::default() });
        assert_eq!(found(&both), [(Level::Warning, "--enable-real-ip".to_owned())]);
    }
}
