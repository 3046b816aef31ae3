//! The manifests of the demo: a shop, its endpoints, and canaries of it.

use std::{fmt::Write as _, fs, path::Path, time::SystemTime};

use anyhow::{Context, Result};

use super::shop::ShopEndpoint;
use crate::tls::{Authority, Issued, Made};

/// The host of the shop. Names below `localhost` lead to this machine, so that browsers reach it too.
pub(super) const HOST: &str = "shop.localhost";

/// The file with the certificate that clients of the shop are to trust.
pub(super) const AUTHORITY: &str = "authority.crt";

/// The stable version, and a canary that a tenth of the requests go to.
const SHOP: &str = "\
# The shop: every request that no canary takes.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  namespace: demo
  annotations:
    # So that the plain lines to try are answered, too.
    nginx.ingress.kubernetes.io/ssl-redirect: \"false\"
spec:
  ingressClassName: nginx
  tls:
    - hosts: [shop.localhost]
      secretName: shop-tls
  rules:
    - host: shop.localhost
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: stable
                port:
                  number: 80
          - path: /cart
            pathType: Prefix
            backend:
              service:
                name: stable
                port:
                  number: 80
";

/// The shop's calls of gRPC, whose endpoints speak HTTP/2.
const CALLS: &str = "\
# The same shop by gRPC: the methods of shop.Shop.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: calls
  namespace: demo
  annotations:
    nginx.ingress.kubernetes.io/backend-protocol: GRPC
    nginx.ingress.kubernetes.io/ssl-redirect: \"false\"
spec:
  ingressClassName: nginx
  rules:
    - host: shop.localhost
      http:
        paths:
          - path: /shop.Shop
            pathType: Prefix
            backend:
              service:
                name: stable
                port:
                  number: 80
";

/// A canary of the calls, by header.
const CANARY_OF_CALLS: &str = "\
# A canary of the calls: whoever asks for it in the metadata.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: calls-canary
  namespace: demo
  annotations:
    nginx.ingress.kubernetes.io/canary: \"true\"
    nginx.ingress.kubernetes.io/canary-by-header: X-Canary
spec:
  ingressClassName: nginx
  rules:
    - host: shop.localhost
      http:
        paths:
          - path: /shop.Shop
            pathType: Prefix
            backend:
              service:
                name: canary
                port:
                  number: 80
";

/// A canary by rule and by weight on `/`.
const CANARY: &str = "\
# A canary of the shop. Change canary-weight and save: the split changes at once.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop-canary
  namespace: demo
  annotations:
    nginx.ingress.kubernetes.io/canary: \"true\"
    nginx.ingress.kubernetes.io/canary-weight: \"10\"
    nginx.ingress.kubernetes.io/canary-by-header: X-Canary
    nginx.ingress.kubernetes.io/canary-by-cookie: canary
spec:
  ingressClassName: nginx
  rules:
    - host: shop.localhost
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: canary
                port:
                  number: 80
";

/// A second canary of the same route, by query.
const CANARY_BY_QUERY: &str = "\
# A second canary of the same route: whoever asks for it in the query.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop-canary-by-query
  namespace: demo
  annotations:
    nginx.ingress.kubernetes.io/canary: \"true\"
    nginx.ingress.kubernetes.io/canary-by-query: preview
spec:
  ingressClassName: nginx
  rules:
    - host: shop.localhost
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: canary
                port:
                  number: 80
";

/// A canary on `/cart` that keeps each user on a side.
const CANARY_OF_CART: &str = "\
# A canary of /cart alone: half of the users, each always on the same side (by the cookie `user`).
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: cart-canary
  namespace: demo
  annotations:
    nginx.ingress.kubernetes.io/canary: \"true\"
    nginx.ingress.kubernetes.io/canary-weight: \"50\"
    serin.dev/canary-sticky: \"cookie:user\"
spec:
  ingressClassName: nginx
  rules:
    - host: shop.localhost
      http:
        paths:
          - path: /cart
            pathType: Prefix
            backend:
              service:
                name: canary
                port:
                  number: 80
";

/// Writes all manifests to `directory`, and the certificate of the authority that signed the shop's.
pub(super) fn write(directory: &Path, stable: &[ShopEndpoint], canary: &[ShopEndpoint]) -> Result<()> {
    let now = SystemTime::now();
    let authority = Authority::from_now("Serin Demo", now).context("cannot make an authority")?;
    let issued = authority.issue_from_now(&[HOST], Made::EcdsaP256, now).context("cannot make a certificate")?;
    let certificate = secret("shop-tls", &issued);
    let services = format!("{}---\n{}", service("stable", stable), service("canary", canary));
    for (name, text) in [
        ("shop.yaml", SHOP),
        ("canary.yaml", CANARY),
        ("canary-by-query.yaml", CANARY_BY_QUERY),
        ("cart-canary.yaml", CANARY_OF_CART),
        ("calls.yaml", CALLS),
        ("calls-canary.yaml", CANARY_OF_CALLS),
        ("services.yaml", services.as_str()),
        ("certificate.yaml", certificate.as_str()),
        (AUTHORITY, authority.certificate()),
    ] {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A Secret with a certificate.
fn secret(name: &str, issued: &Issued) -> String {
    let indented = |text: &str| text.lines().fold(String::new(), |text, line| text + "    " + line + "\n");
    format!(
        "\
# The certificate of the shop, signed by an authority that was made for this demo.
apiVersion: v1
kind: Secret
metadata:
  name: {name}
  namespace: demo
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}",
        indented(&issued.chain),
        indented(&issued.key),
    )
}

/// A Service and a slice for each of its endpoints, which have ports of their own here.
fn service(name: &str, endpoints: &[ShopEndpoint]) -> String {
    let mut text = format!(
        "\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: demo
spec:
  ports:
    - name: http
      port: 80
"
    );
    for endpoint in endpoints {
        let _ = write!(
            text,
            "\
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {}
  namespace: demo
  labels:
    kubernetes.io/service-name: {name}
addressType: IPv4
endpoints:
  - addresses: [\"{}\"]
ports:
  - name: http
    port: {}
",
            endpoint.name,
            endpoint.address.ip(),
            endpoint.address.port(),
        );
    }
    text
}
