//! Where we differ from ingress-nginx on purpose, one test for each rule that [`recorded`](crate::recorded) names.

use crate::{
    client::Request,
    echo::Echo,
    gateway::Gateway,
    manifests::{self, Manifests},
    pattern::fits,
};

/// RFC 9110, section 7.6.1. ingress-nginx passes such headers on, so that a client cannot keep a header from the endpoint, but
/// neither can a proxy before us.
#[tokio::test]
async fn a_header_that_connection_names_goes_no_further() {
    let stage = Stage::set().await;
    let request = Request::get("shop.example", "/").with("X-Foo", "1").with("X-Bar", "2");
    let seen = stage.seen(&request.clone().with("Connection", "close, x-foo")).await;
    assert_eq!((seen("x-foo"), seen("x-bar")), (vec![], vec!["2".to_owned()]));
    let seen = stage.seen(&request).await;
    assert_eq!((seen("x-foo"), seen("x-bar")), (vec!["1".to_owned()], vec!["2".to_owned()]));
}

/// W3C Trace Context, section 3.2.
#[tokio::test]
async fn a_trace_context_is_passed_on_or_started() {
    let stage = Stage::set().await;
    let request = Request::get("shop.example", "/");
    let of_client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen = stage.seen(&request.clone().with("traceparent", of_client).with("tracestate", "a=b")).await;
    assert_eq!((seen("traceparent"), seen("tracestate")), (vec![of_client.to_owned()], vec!["a=b".to_owned()]));

    let mut started = Vec::new();
    for _ in 0..2 {
        let [trace] = &stage.seen(&request).await("traceparent")[..] else { panic!("there is one") };
        let parts: Vec<_> = trace.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2], "{trace}");
        assert!(parts.concat().bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "{trace}");
        started.push(parts[1].to_owned());
    }
    assert_ne!(started[0], started[1], "each request has a trace of its own");
}

#[tokio::test]
async fn a_refusal_names_its_request() {
    let stage = Stage::set().await;
    let request = Request::get("other.example", "/");
    for (request, expected) in [(request.clone(), "*"), (request.with("X-Request-ID", "abcd"), "abcd")] {
        let answer = stage.gateway.client().await.exchange(&request).await.expect("the gateway answers");
        assert_eq!(answer.status, 404);
        let id = answer.head.field("x-request-id").expect("the request is named");
        assert!(fits(expected, id), "{id}");
    }
}

/// A gateway with one host before one endpoint.
struct Stage {
    gateway: Gateway,
    _endpoint: Echo,
    _manifests: Manifests,
}

// === impl Stage ===

impl Stage {
    async fn set() -> Self {
        let endpoint = Echo::start("a").await;
        let manifests = Manifests::new();
        let service = manifests::service("default", "a");
        manifests.write_objects("slices.json", &manifests::slices(&service, [&endpoint]));
        manifests.write_objects("others.json", &[service, manifests::host("shop.example", "a")]);
        let gateway = Gateway::start(manifests.path(), &[]).await;
        Self { gateway, _endpoint: endpoint, _manifests: manifests }
    }

    /// Sends a request, and gives the values of each header as the endpoint saw them.
    async fn seen(&self, request: &Request) -> impl Fn(&str) -> Vec<String> + use<> {
        let answer = self.gateway.client().await.exchange(request).await.expect("the gateway answers");
        let headers = answer.seen().expect("the endpoint tells what it saw").headers;
        move |name| headers.get(name).cloned().unwrap_or_default()
    }
}
