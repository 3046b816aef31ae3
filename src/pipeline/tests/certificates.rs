//! Certificates, from Secrets to what is live.

use super::*;
use crate::{
    problem::Reason,
    tls::{Issued, Made, NameMatch, testing},
};

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: shop, creationTimestamp: 2026-01-01T00:00:00Z}
spec:
  ingressClassName: nginx
  tls: [{hosts: [shop.example], secretName: cert}]
  rules:
  - host: shop.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

fn secret(namespace: &str, name: &str, issued: &Issued) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let (chain, key) = (indented(&issued.chain), indented(&issued.key));
    format!(
        "
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{chain}  tls.key: |
{key}"
    )
}

fn issued(name: &str) -> Issued {
    testing::issued(&[name], Made::EcdsaP256)
}

fn of(issued: &Issued) -> Arc<Certificate> {
    crate::tls::parse(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap()
}

fn broken(issued: &Issued) -> Issued {
    Issued { chain: issued.chain.clone(), key: "garbage".to_owned() }
}

impl Harness {
    fn serves(&self, name: &str) -> Arc<Certificate> {
        let certificates = self.published.certificates.get();
        certificates.find(Some(name)).set.held()[0].certificate.clone()
    }

    fn is_default(&self, name: &str) -> bool {
        self.published.certificates.get().find(Some(name)).by == NameMatch::Default
    }

    fn problems(&self) -> Vec<Reason> {
        self.published.problems.get().sorted().iter().map(|problem| problem.reason).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_is_served_with_its_secret_and_then_with_the_next() {
    let pipeline = Harness::start();
    let (first, second) = (issued("shop.example"), issued("shop.example"));
    pipeline.apply(&[INGRESS, WEB, &slice("10.0.0.1"), &secret("shop", "cert", &first)]).await;
    assert_eq!(pipeline.serves("shop.example"), of(&first));
    let number = pipeline.number();
    pipeline.apply(&[&secret("shop", "cert", &second)]).await;
    assert_eq!(pipeline.serves("shop.example"), of(&second));
    assert_eq!(pipeline.number(), number, "the table has nothing to do with it");
    pipeline.delete(ObjectKey::ingress("shop", "shop")).await;
    assert!(pipeline.is_default("shop.example"));
}

#[tokio::test(start_paused = true)]
async fn a_broken_secret_keeps_its_last_good_certificate_and_is_told_of() {
    let pipeline = Harness::start();
    let good = issued("shop.example");
    pipeline.apply(&[INGRESS, WEB, &slice("10.0.0.1"), &secret("shop", "cert", &good)]).await;
    assert_eq!(pipeline.problems(), []);

    for bad in [broken(&good), issued("other.example"), broken(&good)] {
        pipeline.apply(&[&secret("shop", "cert", &bad)]).await;
        assert_eq!(pipeline.serves("shop.example"), of(&good));
        assert_eq!(pipeline.problems(), [Reason::InvalidCertificate]);
    }
    let renewed = issued("shop.example");
    pipeline.apply(&[&secret("shop", "cert", &renewed)]).await;
    assert_eq!(pipeline.serves("shop.example"), of(&renewed));
    assert_eq!(pipeline.problems(), []);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_never_good_or_is_gone_leaves_the_default() {
    let pipeline = Harness::start();
    let good = issued("shop.example");
    pipeline.apply(&[INGRESS, WEB, &slice("10.0.0.1"), &secret("shop", "cert", &broken(&good))]).await;
    assert!(pipeline.is_default("shop.example"));
    pipeline.apply(&[&secret("shop", "cert", &good)]).await;
    assert!(!pipeline.is_default("shop.example"));
    pipeline.delete(ObjectKey::secret("shop", "cert")).await;
    assert!(pipeline.is_default("shop.example"));
    pipeline.apply(&[&secret("shop", "cert", &broken(&good))]).await;
    assert!(pipeline.is_default("shop.example"), "what was gone is forgotten");
}

#[tokio::test(start_paused = true)]
async fn the_default_certificate_comes_from_its_secret_or_was_made_at_start() {
    let options = Options { default_certificate: Some(("system".into(), "default".into())), ..Options::default() };
    let pipeline = Harness::start_with(options);
    pipeline.apply(&[SHOP, WEB]).await;
    let made = pipeline.serves("any.example");
    assert_eq!(made.subject(), "CN=made.example");
    let default = issued("*.example");
    pipeline.apply(&[&secret("system", "default", &default)]).await;
    assert_eq!(pipeline.serves("any.example"), of(&default));
    pipeline.apply(&[&secret("system", "default", &broken(&default))]).await;
    assert_eq!(pipeline.serves("any.example"), of(&default));
    pipeline.delete(ObjectKey::secret("system", "default")).await;
    assert_eq!(pipeline.serves("any.example"), made);
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_of_the_certificates_that_serve() {
    let pipeline = Harness::start();
    // The labels of each series but the controller's own, and its value.
    let series = |name: &str| -> Vec<String> {
        let mut text = Vec::new();
        pipeline.metrics.write_to(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
        lines
            .map(|(labels, value)| {
                let own = |label: &&str| !label.starts_with("controller_");
                let labels: Vec<_> = labels.split(',').filter(own).collect();
                format!("{} {value}", labels.join(" "))
            })
            .collect()
    };
    let good = issued("shop.example");
    pipeline.apply(&[INGRESS, WEB, &secret("shop", "cert", &good)]).await;
    let serial = of(&good).serial().to_owned();
    assert_eq!(
        series("nginx_ingress_controller_ssl_expire_time_seconds"),
        [format!(
            "class=\"k8s.io/ingress-nginx\" host=\"shop.example\" identifier=\"-{serial}\" namespace=\"shop\" \
             secret_name=\"cert\" 4102444799"
        )]
    );
    assert_eq!(
        series("nginx_ingress_controller_ssl_certificate_info"),
        [format!(
            "class=\"k8s.io/ingress-nginx\" host=\"shop.example\" identifier=\"-{serial}\" \
             issuer_common_name=\"Test Authority\" issuer_organization=\"Serin\" namespace=\"shop\" \
             public_key_algorithm=\"ECDSA\" secret_name=\"cert\" serial_number=\"{serial}\" 1"
        )]
    );
    pipeline.delete(ObjectKey::ingress("shop", "shop")).await;
    assert_eq!(series("nginx_ingress_controller_ssl_expire_time_seconds"), [""; 0]);
    assert_eq!(series("nginx_ingress_controller_ssl_certificate_info"), [""; 0]);
}
