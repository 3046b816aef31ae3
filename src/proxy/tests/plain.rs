//! Requests that nothing goes wrong with.

use super::harness::*;

#[test]
fn a_request_reaches_the_endpoint_and_the_answer_comes_back() {
    let endpoint = Endpoint::answering("HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-From: endpoint\r\n\r\nhello");
    let gateway = Gateway::to(&[&endpoint]);
    let answer = gateway.get("/cart?user=7");
    assert_eq!(answer.status(), 200);
    assert!(answer.head.starts_with("HTTP/1.1 200 Fine\r\n"), "{}", answer.head);
    assert_eq!(answer.field("x-from"), Some("endpoint"));
    assert_eq!(answer.text(), "hello");
    let seen = endpoint.seen();
    assert!(seen[0].head.starts_with("GET /cart?user=7 HTTP/1.1\r\n"), "{}", seen[0].head);
    assert_eq!(seen[0].field("host"), Some("shop.example"));
}
