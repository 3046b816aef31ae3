//! The command line, run as a user runs it.

use serde_json::Value;
use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const SHOP: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  namespace: shop
spec:
  ingressClassName: nginx
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
          - {path: /cart, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: canary
  namespace: shop
  annotations:
    nginx.ingress.kubernetes.io/canary: \"true\"
    nginx.ingress.kubernetes.io/canary-by-header: X-Canary
    nginx.ingress.kubernetes.io/canary-weight: \"30\"
    serin.dev/canary-sticky: \"cookie:user\"
spec:
  ingressClassName: nginx
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /cart, pathType: Prefix, backend: {service: {name: next, port: {number: 80}}}}
";

const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: next, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{name: http, port: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: next-1, namespace: shop, labels: {kubernetes.io/service-name: next}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.2]}]
ports: [{name: http, port: 8080}]
";

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("a file can be written");
    }
    directory
}

fn serin(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_serin")).args(arguments).output().expect("the program runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn help_and_version_are_no_errors() {
    assert_eq!(serin(&["--help"]).status.code(), Some(0));
    let version = serin(&["--version"]);
    assert_eq!(stdout(&version).trim(), format!("serin {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_line_that_cannot_be_understood_is_64() {
    for arguments in [
        &["serve"][..],
        &["run", "--http-port", "none"],
        &["run", "--manifests", ".", "--endpoint", "x"],
        &["run", "--manifests", ".", "--log-level", "in fo=!"],
        &["run", "--manifests", ".", "--log-level", "warning"],
        &["demo", "--log-level", ""],
        &["run", "--manifests", ".", "--http-port", "8080", "--https-port", "8080"],
        &["explain", "-f", ".", "GET", "ftp://shop.example/"],
        &["explain", "-f", ".", "GET", "http://shop.example/a b"],
        &["explain", "-f", ".", "GET", "http://shop.example/", "-H", "X-Canary"],
    ] {
        let output = serin(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_gateway_that_cannot_start_is_1_and_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let manifests = directory(&[]);
    let path = text(manifests.path());
    let arguments = ["run", "--manifests", path, "--bind-address", "127.0.0.1", "--healthz-port", &port];
    let output = serin(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{said}");
}

#[test]
fn check_of_sound_manifests_finds_nothing() {
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", SERVICES)]);
    let output = serin(&["check", text(manifests.path()), "--strict"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("0 errors, 0 warnings, 0 not in these files"), "{said}");
}

#[test]
fn check_names_each_mistake_and_its_mend() {
    let shop = SHOP.replace("canary-weight: \"30\"", "canary-weight: \"thirty\"").replace(
        "nginx.ingress.kubernetes.io/canary-by-header: X-Canary",
        "nginx.ingress.kubernetes.io/canary-by-headr: X-Canary",
    );
    let manifests = directory(&[("shop.yaml", &shop), ("services.yaml", SERVICES), ("broken.yaml", "a: [")]);
    let output = serin(&["check", text(manifests.path())]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("thirty"), "{said}");
    assert!(said.contains("canary-by-header"), "it knows what was meant: {said}");
    assert!(said.contains("broken.yaml"), "{said}");
    assert!(said.contains("mend:"), "{said}");
}

#[test]
fn check_tells_what_is_wrong_with_flags() {
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", SERVICES)]);
    let path = text(manifests.path());
    let check = |flags: &[&str]| {
        let output = serin(&[&["check", path, "--use-forwarded-headers"], flags].concat());
        (output.status.code(), stdout(&output))
    };
    let (code, said) = check(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("CommandLine serin") && said.contains("at --proxy-real-ip-cidr"), "{said}");
    let (code, said) = check(&["--proxy-real-ip-cidr", "0.0.0.0/0"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Everybody is believed") && said.contains("1 warnings"), "{said}");
    assert_eq!(check(&["--proxy-real-ip-cidr", "10.0.0.0/8"]).0, Some(0));
}

#[test]
fn what_is_not_in_the_files_is_an_error_only_where_that_is_asked_for() {
    let manifests = directory(&[("shop.yaml", SHOP)]);
    let path = text(manifests.path());
    let output = serin(&["check", path]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("not in these files"), "{said}");
    let output = serin(&["check", path, "--strict"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: Ingress shop/shop") && said.ends_with(" 0 not in these files\n"), "{said}");
    let report = stdout(&serin(&["check", path, "--strict", "--output", "json"]));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert!(report["errors"].as_u64() > Some(0), "{report:#}");
    assert_eq!(report["missing"], 0, "{report:#}");
}

#[test]
fn where_no_object_is_found_there_is_nothing_to_approve_of() {
    let nothing = directory(&[("shop.txt", SHOP)]);
    let other = directory(&[("other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")]);
    let path = text(nothing.path());
    let output = serin(&["check", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("no object was found"), "{}", stdout(&output));
    assert_eq!(serin(&["explain", "-f", path, "GET", "http://shop.example/"]).status.code(), Some(1));
    assert_eq!(serin(&["check", text(other.path())]).status.code(), Some(0), "what is ignored was found");

    let gone = stdout(&serin(&["check", "/nowhere"]));
    assert!(gone.contains("effect: nothing in it is used"), "{gone}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", SERVICES)]);
    let path = text(manifests.path());
    let unread = || io::pipe().map(|(_, writer)| writer).expect("a pipe can be made");
    for arguments in
        [&["check", path][..], &["explain", "-f", path, "GET", "http://shop.example/"], &["annotations"], &["--help"]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_serin")).args(arguments).stdout(unread()).output();
        let output = output.expect("the program runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
    }
    let failed = Command::new(env!("CARGO_BIN_EXE_serin")).args(["check", "/nowhere"]).stdout(unread()).status();
    assert_eq!(failed.expect("the program runs").code(), Some(1), "what it found counts all the same");
    let failed =
        Command::new(env!("CARGO_BIN_EXE_serin")).args(["run", "--manifests", "/nowhere"]).stderr(unread()).status();
    assert_eq!(failed.expect("the program runs").code(), Some(1), "it does not panic where nobody is told why");
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_told_once() {
    let output = serin(&["run", "--kubeconfig", "/nowhere"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
}

#[test]
fn a_switch_may_be_set_by_the_environment() {
    let manifests = directory(&[("shop.yaml", SHOP)]);
    for (strict, code) in [("1", 1), ("true", 1), ("yes", 1), ("0", 0), ("", 0), ("treu", 64)] {
        let mut check = Command::new(env!("CARGO_BIN_EXE_serin"));
        let output = check.arg("check").arg(manifests.path()).env("SERIN_STRICT", strict).output();
        assert_eq!(output.expect("the program runs").status.code(), Some(code), "{strict:?}");
    }
}

#[test]
fn an_empty_variable_is_as_none() {
    for variable in [
        "SERIN_HTTP_PORT",
        "SERIN_LOG_LEVEL",
        "SERIN_ENDPOINT",
        "SERIN_BIND_ADDRESS",
        "SERIN_METRICS_PER_HOST",
        "SERIN_WATCH_NAMESPACE",
        "SERIN_DEFAULT_SSL_CERTIFICATE",
    ] {
        let mut run = Command::new(env!("CARGO_BIN_EXE_serin"));
        let output = run.args(["run", "--manifests", "/nowhere"]).env(variable, "").output();
        let output = output.expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("there is nothing at /nowhere"), "the command line is understood: {variable}: {said}");
    }
}

#[test]
fn check_reads_standard_input_and_prints_json() {
    let mut check = Command::new(env!("CARGO_BIN_EXE_serin"))
        .args(["check", "-", "--output", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stdin = check.stdin.take().expect("it is piped");
    stdin.write_all(SHOP.as_bytes()).expect("it reads");
    drop(stdin);
    let output = check.wait_with_output().expect("it ends");
    let report: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(report["objects"], 2);
    assert_eq!(report["errors"], 0);
    assert!(report["missing"].as_u64().expect("a number") > 0);
    let problems = report["problems"].as_array().expect("a list");
    let missing = |problem: &&Value| problem["level"] == "missing" && problem["object"] == "Ingress shop/shop";
    let missing = problems.iter().find(missing).expect("the Service is missing");
    assert!(missing["place"].as_str().expect("a place").starts_with("standard input:"), "{missing:#}");
}

#[test]
fn explain_tells_the_route_the_rule_and_the_endpoints() {
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", SERVICES)]);
    let path = text(manifests.path());
    let output = serin(&["explain", "-f", path, "GET", "http://shop.example/cart?item=1", "-H", "X-Canary: always"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for expected in
        ["shop.example/cart (Prefix)", "X-Canary", "canary side", "10.0.0.2:8080", "X-Forwarded-For: 127.0.0.1"]
    {
        assert!(said.contains(expected), "no {expected:?} in {said}");
    }
}

#[test]
fn explain_tells_how_the_chosen_side_is_spoken_to() {
    let prefix = "nginx.ingress.kubernetes.io";
    let shop = |annotations: &str| {
        SHOP.replacen("name: shop\n", &format!("name: shop\n  annotations: {{{annotations}}}\n"), 1)
    };
    let says = |protocol: &str| shop(&format!("{prefix}/backend-protocol: {protocol}"));
    let verified = shop(&format!(
        "{prefix}/backend-protocol: GRPCS, {prefix}/proxy-ssl-secret: ca, {prefix}/proxy-ssl-verify: 'on'"
    ));
    let named = verified.replace(
        "/proxy-ssl-verify: 'on'",
        &format!("/proxy-ssl-verify: 'on', {prefix}/proxy-ssl-name: web.shop, {prefix}/proxy-ssl-server-name: 'on'"),
    );
    let authority = rcgen::generate_simple_self_signed(["web.shop".to_owned()]).expect("it can be made").cert.pem();
    let lines: String = authority.lines().map(|line| format!("    {line}\n")).collect();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: ca, namespace: shop}}\nstringData:\n  ca.crt: |\n{lines}"
    );
    // The canary's Service says it, and the stable one says nothing.
    let services = SERVICES.replacen(
        "name: next, namespace: shop}\nspec: {ports: [{",
        "name: next, namespace: shop}\nspec: {ports: [{appProtocol: kubernetes.io/h2c, ",
        1,
    );
    assert_ne!(services, SERVICES);
    for (side, shop, expected) in [
        ("never", SHOP.to_owned(), "protocol   HTTP/1.1, since nothing else is said"),
        ("always", SHOP.to_owned(), "protocol   HTTP/2, as `appProtocol` of the Service says"),
        ("always", says("HTTP"), "protocol   HTTP/1.1, as `backend-protocol` says"),
        ("never", says("AUTO_HTTP"), "protocol   HTTP/1.1, as `backend-protocol` says"),
        ("never", says("HTTPS"), "protocol   HTTP/1.1 over TLS, as `backend-protocol` says"),
        ("never", says("HTTPS"), "tls        the certificate is not verified; TLSv1.2 TLSv1.3"),
        ("always", verified, "tls        none: the Secret shop/ca cannot be used, so no connection is made"),
        (
            "always",
            format!("{named}---\n{secret}"),
            "tls        the certificate must be for web.shop, from an authority in the Secret shop/ca; web.shop is asked \
             for (SNI); TLSv1.2 TLSv1.3",
        ),
    ] {
        let manifests = directory(&[("shop.yaml", &shop), ("services.yaml", &services)]);
        let header = format!("X-Canary: {side}");
        let path = text(manifests.path());
        let said = stdout(&serin(&["explain", "-f", path, "GET", "http://shop.example/cart", "-H", &header]));
        assert!(said.contains(expected), "no {expected:?} in {said}");
    }
}

#[test]
fn explain_believes_the_proxies_that_the_gateway_would_believe() {
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", SERVICES)]);
    let path = text(manifests.path());
    let explain = |proxies: &str| {
        let mut arguments = vec!["explain", "-f", path, "GET", "http://shop.example/", "--client", "10.0.0.1"];
        arguments.extend(["--use-forwarded-headers", "--proxy-real-ip-cidr", proxies]);
        arguments.extend(["-H", "X-Forwarded-For: 192.0.2.1", "-H", "X-Forwarded-Proto: https"]);
        stdout(&serin(&arguments))
    };
    let believed = explain("10.0.0.0/8");
    for expected in ["the proxy 10.0.0.1 is believed", "X-Real-IP: 192.0.2.1", "X-Forwarded-Proto: https"] {
        assert!(believed.contains(expected), "no {expected:?} in {believed}");
    }
    // The proxy has said the same, and it is the endpoint's all the same.
    assert!(believed.contains("= X-Forwarded-Proto: https\n"), "{believed}");
    let stranger = explain("172.16.0.0/12");
    assert!(stranger.contains("X-Real-IP: 10.0.0.1") && stranger.contains("X-Forwarded-Proto: http\n"), "{stranger}");
}

#[test]
fn explain_tells_the_bucket_of_a_sticky_key() {
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", SERVICES)]);
    let path = text(manifests.path());
    let explain = |user: &str| {
        let cookie = format!("user={user}");
        let url = "http://shop.example/cart";
        let output = serin(&["explain", "-f", path, "GET", url, "--cookie", &cookie, "--output", "json"]);
        serde_json::from_str::<Value>(&stdout(&output)).expect("JSON")
    };
    let first = explain("7");
    assert!(first["steps"].to_string().contains("bucket"), "{first:#}");
    assert_eq!(first["outcome"], explain("7")["outcome"], "a sticky choice is no lot");
    let sides: std::collections::BTreeSet<_> =
        (0..60).map(|user| explain(&user.to_string())["outcome"]["side"].to_string()).collect();
    assert_eq!(sides.len(), 2, "of 60 users at 30 %, some are on each side");
}

#[test]
fn explain_tells_what_each_side_lacks_where_none_can_serve() {
    let empty = SERVICES.replace("endpoints:", "endpoints: [] #");
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", &empty)]);
    let url = "http://shop.example/cart";
    let said = stdout(&serin(&["explain", "-f", text(manifests.path()), "GET", url, "-H", "X-Canary: always"]));
    assert!(said.contains("503") && said.contains("has no endpoint\n") && !said.contains("serves\n"), "{said}");
    for object in ["Ingress shop/shop", "Service shop/web", "Ingress shop/canary", "Service shop/next"] {
        assert!(said.contains(&format!(" {object} at ")), "nothing of {object} in {said}");
    }
}

#[test]
fn explain_tells_that_nothing_fits() {
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", SERVICES)]);
    let output = serin(&["explain", "-f", text(manifests.path()), "GET", "http://other.example/"]);
    assert!(stdout(&output).contains("404"), "{}", stdout(&output));
}

#[test]
fn explain_tells_what_the_proxy_makes_of_the_headers() {
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", SERVICES)]);
    let path = text(manifests.path());
    let explain = |headers: &[&str]| {
        let mut arguments = vec!["explain", "-f", path, "GET", "http://shop.example/cart"];
        arguments.extend(headers.iter().flat_map(|header| ["-H", header]));
        let output = serin(&arguments);
        assert_eq!(output.status.code(), Some(0));
        stdout(&output)
    };
    let said = explain(&["X-Forwarded-For: 203.0.113.9", "X_Canary: 1", "Connection: X-Canary", "X-Canary: always"]);
    for expected in [
        "request    + X-Original-Forwarded-For: 203.0.113.9\n",
        "           - X-Forwarded-For: 203.0.113.9\n           + X-Forwarded-For: 127.0.0.1\n",
        "           - X_Canary: 1\n",
        "           - X-Canary: always\n",
    ] {
        assert!(said.contains(expected), "no {expected:?} in {said}");
    }
    // One Host takes the place of the URL's, as with curl; two are what no client may send.
    assert!(explain(&["Host: other.example"]).contains("answer     404: no route fits"));
    let said = explain(&["Host: shop.example", "Host: shop.example"]);
    assert!(said.contains("answer     400: more than one Host"), "{said}");
}

#[test]
fn explain_tells_of_the_trace_that_is_begun() {
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", SERVICES)]);
    for (new, told) in
        [("sampled", Some("(a new one, sampled)")), ("unsampled", Some("(a new one, not sampled)")), ("off", None)]
    {
        let path = text(manifests.path());
        let said = stdout(&serin(&["explain", "-f", path, "GET", "http://shop.example/", "--new-traceparent", new]));
        assert_eq!(
            said.lines().find_map(|line| line.split_once("traceparent: ")).map(|(_, told)| told),
            told,
            "{said}"
        );
    }
}

#[test]
fn explain_tells_what_it_could_not_read() {
    let manifests = directory(&[("shop.yaml", SHOP), ("services.yaml", SERVICES), ("broken.yaml", "a: [")]);
    let explain = |path: &str, output: &str| {
        let output = serin(&["explain", "-f", path, "GET", "http://shop.example/", "--output", output]);
        (output.status.code(), stdout(&output))
    };
    let (code, said) = explain(text(manifests.path()), "text");
    assert_eq!(code, Some(0));
    assert!(said.contains("broken.yaml at line 1, column "), "{said}");
    let (_, said) = explain(text(manifests.path()), "json");
    let report: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["unreadable"].as_array().map(Vec::len), Some(1), "{report:#}");

    for gone in [manifests.path().join("tpyo"), manifests.path().join("broken.yaml")] {
        let (code, said) = explain(text(&gone), "text");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("error    Manifest {}", text(&gone))), "{said}");
    }
}

#[test]
fn explain_tells_why_an_ingress_of_the_host_is_not_served() {
    let shop = SHOP.replace("ingressClassName: nginx", "ingressClassName: ngnix");
    let manifests = directory(&[("shop.yaml", &shop), ("services.yaml", SERVICES)]);
    let output = serin(&["explain", "-f", text(manifests.path()), "GET", "http://SHOP.example:8080/"]);
    let said = stdout(&output);
    assert!(said.contains("404") && said.contains("Ingress shop/shop at spec.ingressClassName"), "{said}");
}

#[test]
fn the_reference_of_annotations_is_printed() {
    let reference = stdout(&serin(&["annotations"]));
    assert!(reference.contains("canary-by-header-pattern"));
}

/// A manifest beside the golden translations.
fn golden(name: &str) -> String {
    format!("{}/src/translate/testdata/tls/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn check_judges_the_dates_of_certificates() {
    let expired = serin(&["check", &golden("expired")]);
    assert_eq!(expired.status.code(), Some(1));
    let told = "The certificate for old.example has expired: it was valid until 2021-01-01T00:00:00Z";
    assert!(stdout(&expired).contains(told), "{}", stdout(&expired));
    assert_eq!(serin(&["check", &golden("listed")]).status.code(), Some(0));
}

#[test]
fn explain_tells_which_certificate_is_shown_and_why() {
    for (case, url, told) in [
        (
            "listed",
            "https://shop.example/",
            "shop/cert (ECDSA) for shop.example; an entry lists the host; Ingress shop/web",
        ),
        ("expired", "https://old.example/", "clients refuse it: it has expired at 2021-01-01T00:00:00Z"),
        ("missing_secret", "https://shop.example/", "the one made at start: no Secret serves shop.example"),
        ("a_wildcard_rule", "https://a.shop.example/", "shop/wild (ECDSA) for *.shop.example; an entry lists the host"),
        ("listed", "https://127.0.0.1/", "the one made at start: an address is no server name"),
    ] {
        let output = serin(&["explain", "-f", &golden(case), "GET", url]);
        assert!(stdout(&output).contains(told), "{}", stdout(&output));
    }
    let plain = serin(&["explain", "-f", &golden("listed"), "GET", "http://shop.example/"]);
    assert!(!stdout(&plain).contains("certificate"), "{}", stdout(&plain));
}

#[test]
fn explain_tells_of_a_connection_that_was_made_for_another_host() {
    let output = serin(&[
        "explain",
        "-f",
        &golden("client_certificates"),
        "GET",
        "https://off.example/",
        "-H",
        "Host: shop.example",
    ]);
    assert!(stdout(&output).contains("421"), "{}", stdout(&output));
}
