//! Features of the pipeline, told as a user sees them: apply, look, change, look, delete, look.

use tokio::{
    runtime::Handle,
    sync::mpsc::{self, Sender},
};

use super::*;
use crate::{
    key::{Hostname, ObjectKey, SecretKey},
    lifecycle::Readiness,
    metrics::Settings,
    route::{Host, HostTable, PatternFlags},
    source::files,
    tls::{self, Credentials},
    upstream::{
        Resolver,
        resolve::{self, Servers},
    },
};

mod certificates;
mod walk;

const SHOP: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: shop, creationTimestamp: 2026-01-01T00:00:00Z}
spec:
  ingressClassName: nginx
  rules:
  - host: shop.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
";

/// A pipeline under test, and what it publishes.
struct Harness {
    batches: Sender<Batch>,
    published: Arc<Published>,
    metrics: Metrics,
    readiness: Readiness,
}

impl Harness {
    fn start() -> Self {
        Self::start_with(Options::default())
    }

    fn start_with(options: Options) -> Self {
        Self::start_resolving(options, Err("this is a test".into()))
    }

    fn start_resolving(options: Options, resolver: Result<Resolver, Arc<str>>) -> Self {
        let published = Arc::new(Published::default());
        let (metrics, _) = Metrics::new(&Settings::default());
        let made = tls::testing::certificate(&["made.example"], tls::Made::EcdsaP256);
        let pipeline = Pipeline::new(options, published.clone(), metrics.clone(), resolver);
        let pipeline = pipeline.with_fallback(made);
        let (batches, receiver) = mpsc::channel(1000);
        let readiness = Readiness::new();
        tokio::spawn(pipeline.run(receiver, HoldOff::default(), readiness.block("first snapshot")));
        Self { batches, published, metrics, readiness }
    }

    async fn apply(&self, manifests: &[&str]) {
        self.send(batch(manifests)).await;
    }

    async fn delete(&self, key: ObjectKey) {
        self.send(Batch { deleted: vec![key], ..Batch::default() }).await;
    }

    /// Sends a batch and lets the pipeline come to rest. Time stands still but for what the pipeline waits for.
    async fn send(&self, batch: Batch) {
        self.batches.send(batch).await.expect("the pipeline runs");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    fn number(&self) -> u64 {
        self.published.table.load().number
    }

    fn host(&self, name: &str) -> Option<HostTable<Arc<Cluster>, Arc<RouteState>>> {
        let table = self.published.table.get();
        match &**table.host(&Hostname::parse(name).expect("a host"))? {
            Host::Routes(host) => Some(host.clone()),
            Host::Twin { .. } => None,
        }
    }

    fn stable(&self, host: &str) -> Arc<Cluster> {
        let host = self.host(host).expect("the host is published");
        host.routes[0].split.stable.as_ref().expect("it has a backend").backend.clone()
    }

    /// What is known of the Secret of [`verified`].
    fn credentials(&self) -> Option<Arc<Credentials>> {
        self.published.credentials.load().get(&key()).cloned()
    }

    fn addresses(&self, host: &str) -> BTreeSet<String> {
        let cluster = self.stable(host).snapshot(0);
        cluster.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
    }
}

/// The Secret of [`verified`].
fn key() -> SecretKey {
    SecretKey { namespace: "shop".into(), name: "ca".into() }
}

fn batch(manifests: &[&str]) -> Batch {
    let loaded = files::parse("test.yaml", manifests.join("\n---\n").as_bytes(), &[]);
    assert_eq!(loaded.problems, [], "the test's own manifests");
    Batch { applied: loaded.objects, ..Batch::default() }
}

fn slice(addresses: &str) -> String {
    format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
endpoints: [{{addresses: [{addresses}]}}]
ports: [{{name: http, port: 8080}}]
"
    )
}

/// A Secret with an authority of its own, newly made.
fn authority() -> String {
    let made = rcgen::generate_simple_self_signed(["web.shop".to_owned()]).expect("it can be made");
    secret(&made.cert.pem())
}

fn secret(authority: &str) -> String {
    let lines = authority.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: ca, namespace: shop}}\nstringData:\n  ca.crt: |\n{lines}")
}

/// The shop, whose endpoints are verified.
fn verified() -> String {
    let prefix = "nginx.ingress.kubernetes.io";
    let annotations = format!(
        "{{{prefix}/backend-protocol: HTTPS, {prefix}/proxy-ssl-secret: shop/ca, {prefix}/proxy-ssl-verify: 'on', \
         {prefix}/proxy-ssl-name: web.shop}}"
    );
    SHOP.replace("name: shop,", &format!("name: shop, annotations: {annotations},"))
}

fn set(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_applied_is_served_and_what_is_deleted_is_not() {
    let pipeline = Harness::start();
    assert!(!pipeline.readiness.is_ready());
    pipeline.apply(&[SHOP, WEB, &slice("10.0.0.1")]).await;
    assert!(pipeline.readiness.is_ready());
    assert_eq!(pipeline.number(), 1);
    assert_eq!(pipeline.addresses("shop.example"), set(&["10.0.0.1:8080"]));

    pipeline.apply(&[&SHOP.replace("shop.example", "store.example")]).await;
    assert_eq!(pipeline.number(), 2);
    assert!(pipeline.host("shop.example").is_none());
    assert!(pipeline.host("store.example").is_some());

    pipeline.delete(ObjectKey::ingress("shop", "shop")).await;
    assert_eq!(pipeline.number(), 3);
    assert!(pipeline.published.table.load().is_empty());
    assert!(pipeline.published.clusters.load().is_empty(), "nothing names the cluster any more");
}

#[tokio::test(start_paused = true)]
async fn an_empty_first_batch_is_a_table_too() {
    let pipeline = Harness::start();
    pipeline.apply(&[]).await;
    assert!(pipeline.readiness.is_ready());
    assert_eq!(pipeline.number(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_first_batch_nothing_is_ready() {
    let Harness { batches, published, readiness, .. } = Harness::start();
    drop(batches);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!readiness.is_ready(), "an empty table must not serve");
    assert_eq!(published.table.load().number, 0);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_equals_the_last_is_not_published() {
    let pipeline = Harness::start();
    pipeline.apply(&[SHOP, WEB, &slice("10.0.0.1")]).await;
    pipeline.apply(&[SHOP]).await;
    pipeline.apply(&[&SHOP.replace("name: shop,", "name: shop, labels: {team: a},")]).await;
    assert_eq!(pipeline.number(), 1);
}

#[tokio::test(start_paused = true)]
async fn endpoints_go_to_their_cluster_and_never_to_the_table() {
    let pipeline = Harness::start();
    pipeline.apply(&[SHOP, WEB, &slice("10.0.0.1")]).await;
    let cluster = pipeline.stable("shop.example");
    pipeline.apply(&[&slice("10.0.0.2")]).await;
    assert_eq!(pipeline.addresses("shop.example"), set(&["10.0.0.2:8080"]));
    assert_eq!(pipeline.number(), 1);
    assert!(Arc::ptr_eq(&cluster, &pipeline.stable("shop.example")));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_outlives_the_tables_that_name_it() {
    let pipeline = Harness::start();
    pipeline.apply(&[SHOP, WEB, &slice("10.0.0.1")]).await;
    let cluster = pipeline.stable("shop.example");
    pipeline.apply(&[&SHOP.replace("path: /,", "path: /cart,")]).await;
    assert_eq!(pipeline.number(), 2);
    assert!(Arc::ptr_eq(&cluster, &pipeline.stable("shop.example")));
}

#[tokio::test(start_paused = true)]
async fn an_object_may_come_after_what_names_it() {
    let pipeline = Harness::start();
    pipeline.apply(&[SHOP]).await;
    assert!(!pipeline.published.problems.load().is_empty(), "the Service is missing");
    pipeline.apply(&[WEB]).await;
    assert!(!pipeline.published.problems.load().is_empty(), "the Service has no endpoints");
    pipeline.apply(&[&slice("10.0.0.1")]).await;
    assert_eq!(pipeline.addresses("shop.example"), set(&["10.0.0.1:8080"]));
    assert_eq!(pipeline.published.problems.load().sorted(), [] as [&Problem; 0]);

    pipeline.delete(ObjectKey::new(crate::key::Kind::EndpointSlice, "shop", "web-1")).await;
    assert!(!pipeline.stable("shop.example").is_up());
    assert!(!pipeline.published.problems.load().is_empty());
}

#[tokio::test(start_paused = true)]
async fn other_hosts_are_shared_with_the_former_table() {
    let pipeline = Harness::start();
    let other = SHOP.replace("name: shop,", "name: other,").replace("shop.example", "other.example");
    pipeline.apply(&[SHOP, &other, WEB, &slice("10.0.0.1")]).await;
    let name = Hostname::parse("other.example").expect("a host");
    let before = pipeline.published.table.get();
    pipeline.apply(&[&SHOP.replace("path: /,", "path: /cart,")]).await;
    let after = pipeline.published.table.get();
    let (before, after) = (before.host(&name).expect("it is there"), after.host(&name).expect("it is there"));
    assert!(Arc::ptr_eq(before, after));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_when_idle() {
    let pipeline = Harness::start();
    pipeline.apply(&[SHOP, WEB]).await;
    pipeline.batches.send(batch(&[&SHOP.replace("path: /,", "path: /a,")])).await.expect("the pipeline runs");
    // Let other tasks run, without letting time pass.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pipeline.number(), 2);
}

#[tokio::test(start_paused = true)]
async fn batches_in_quick_succession_become_one_table() {
    let pipeline = Harness::start();
    pipeline.apply(&[SHOP, WEB]).await;
    for path in ["/a", "/b", "/c", "/d"] {
        pipeline.batches.send(batch(&[&SHOP.replace("path: /,", &format!("path: {path},"))])).await.expect("it runs");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pipeline.number(), 3, "the first at once, the others together");
    assert_eq!(&*pipeline.host("shop.example").expect("it is there").routes[0].id.path, "/d");
}

#[tokio::test(start_paused = true)]
async fn under_churn_a_table_waits_for_a_bounded_time() {
    let pipeline = Harness::start();
    pipeline.apply(&[SHOP, WEB]).await;
    for n in 0..200 {
        pipeline.batches.send(batch(&[&SHOP.replace("path: /,", &format!("path: /{n},"))])).await.expect("it runs");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let published = pipeline.number() - 1;
    assert!((8..=12).contains(&published), "200 ms of churn in steps of at most 25 ms: {published}");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_options_is_a_problem_from_the_beginning() {
    let trust = crate::http::forwarded::Trust { forwarded_headers: true, ..Default::default() };
    let harness = Harness::start_with(Options { trust, ..Options::default() });
    let fields = || -> Vec<String> {
        harness.published.problems.get().sorted().into_iter().map(|problem| problem.field.clone()).collect()
    };
    assert_eq!(fields(), ["--proxy-real-ip-cidr"]);
    harness.apply(&[]).await;
    assert_eq!(fields(), ["--proxy-real-ip-cidr"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_problem_until_it_can() {
    let pipeline = Harness::start();
    let loaded = files::parse("broken.yaml", b"a: [", &[]);
    assert!(!loaded.problems.is_empty());
    pipeline.send(Batch { problems: loaded.problems.clone(), ..batch(&[SHOP, WEB, &slice("10.0.0.1")]) }).await;
    assert_eq!(pipeline.published.problems.load().len(), loaded.problems.len());
    pipeline.send(Batch::default()).await;
    assert!(pipeline.published.problems.load().is_empty());
}

#[tokio::test(start_paused = true)]
async fn files_that_cannot_be_read_are_counted_once_each_however_much_is_wrong_with_them() {
    let pipeline = Harness::start();
    let unreadable = |name: &str, text: &str| {
        let loaded = files::parse(name, text.as_bytes(), &[]);
        Batch { problems: loaded.problems, unreadable: loaded.unreadable, ..Batch::default() }
    };
    let misfit = "apiVersion: v1\nkind: Service\nmetadata: {name: x, labels: {a: 1}}\n";
    let twice = unreadable("a.yaml", &format!("{misfit}---\n{misfit}"));
    assert_eq!(twice.problems.len(), 2);
    // What can be used counts as read, whatever is odd about it.
    let odd = unreadable("b.yaml", "replicas: 3\n");
    assert_eq!(odd.problems.len(), 1);
    let errors = || pipeline.metrics.meters().file_errors.value();
    for (batch, expected) in
        [(twice, 1), (unreadable("a.yaml", "a: ["), 1), (odd, 1), (unreadable("a.yaml", "a: ["), 2)]
    {
        pipeline.send(batch).await;
        assert_eq!(errors(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_cluster_of_a_name_that_nothing_resolves_says_why() {
    let pipeline = Harness::start();
    let name = "spec: {type: ExternalName, externalName: web.example, ports: [{port: 80}]}";
    let web = WEB.replace("spec: {ports: [{name: http, port: 80}]}", name);
    pipeline.apply(&[SHOP, &web]).await;
    let shown = pipeline.stable("shop.example").snapshot(0).name.expect("it stands for a name");
    assert_eq!(shown.resolution.as_deref(), Some("this is a test"));
}

#[tokio::test]
async fn a_name_is_asked_of_the_resolver() {
    let dns = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let servers = Servers::Given { servers: vec![dns.local_addr().expect("bound")], search: Vec::new(), ndots: 1 };
    let settings = resolve::Settings { servers, ..resolve::Settings::default() };
    let (metrics, _) = Metrics::new(&Settings::default());
    let resolver = Resolver::new(settings, Handle::current(), metrics.meters().dns_failures.clone());
    let pipeline = Harness::start_resolving(Options::default(), resolver.map_err(|error| error.to_string().into()));
    let external = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: ExternalName, externalName: db.example., ports: [{name: http, port: 80}]}
";
    pipeline.batches.send(batch(&[SHOP, external])).await.expect("the pipeline runs");
    let mut question = [0; 512];
    let asked = tokio::time::timeout(Duration::from_secs(30), dns.recv(&mut question)).await;
    let length = asked.expect("DNS is asked").expect("loopback delivers");
    assert!(question[..length].windows(11).any(|part| part == b"\x02db\x07example"), "{question:?}");
}

#[tokio::test(start_paused = true)]
async fn the_default_backend_may_come_and_go() {
    let options = Options { default_backend: Some(("shop".into(), "web".into())), ..Options::default() };
    let pipeline = Harness::start_with(options);
    pipeline.apply(&[]).await;
    assert!(pipeline.published.table.load().default.is_none());
    assert_eq!(pipeline.published.problems.load().len(), 1);
    pipeline.apply(&[WEB]).await;
    assert!(pipeline.published.table.load().default.is_some());
    assert_eq!(pipeline.published.problems.load().len(), 1, "it has no endpoints");
    pipeline.apply(&[&slice("10.0.0.1")]).await;
    assert!(pipeline.published.problems.load().is_empty());
    pipeline.delete(ObjectKey::service("shop", "web")).await;
    assert!(pipeline.published.table.load().default.is_none());
    assert!(pipeline.published.clusters.load().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_secret_holds_is_published_and_never_touches_the_table() {
    let pipeline = Harness::start();
    pipeline.apply(&[&verified(), WEB, &slice("10.0.0.1")]).await;
    assert_eq!(pipeline.credentials(), None);
    let problems = pipeline.published.problems.load().len();
    assert_eq!(problems, 1, "the Secret is missing");
    let number = pipeline.number();

    pipeline.apply(&[&authority()]).await;
    let first = pipeline.credentials().expect("it is there now");
    assert!(pipeline.published.problems.load().is_empty());
    pipeline.apply(&[&authority()]).await;
    let second = pipeline.credentials().expect("it is there");
    assert_ne!(second, first, "it is another authority");
    assert_eq!(pipeline.number(), number);
}

#[tokio::test(start_paused = true)]
async fn what_a_secret_held_last_that_could_be_used_stays_as_long_as_it_is_named() {
    let pipeline = Harness::start();
    pipeline.apply(&[&verified(), WEB, &slice("10.0.0.1"), &authority()]).await;
    let good = pipeline.credentials();
    assert!(good.is_some());
    pipeline.apply(&[&secret("garbage")]).await;
    assert_eq!(pipeline.credentials(), good);
    let book = pipeline.published.problems.get();
    assert!(book.sorted().iter().any(|problem| problem.object == key().object()), "{:?}", book.sorted());
    pipeline.delete(key().object()).await;
    assert_eq!(pipeline.credentials(), good);
    assert_eq!(pipeline.published.problems.load().len(), 1, "the Ingress is told that it is missing");

    pipeline.apply(&[&authority()]).await;
    assert!(pipeline.credentials().is_some_and(|now| Some(now) != good));
    pipeline.apply(&[SHOP]).await;
    assert_eq!(pipeline.credentials(), None, "nothing names it any more");
    assert!(pipeline.published.problems.load().is_empty());
    pipeline.apply(&[&verified()]).await;
    assert!(pipeline.credentials().is_some());
}

#[test]
fn searches_that_regexes_give_up_are_shown() {
    let (metrics, _) = Metrics::new(&Settings::default());
    let _pipeline =
        Pipeline::new(Options::default(), Arc::default(), metrics.clone(), Err("there is none in this test".into()));
    let shown = || {
        let mut text = Vec::new();
        metrics.write_to(&mut text).expect("a vector takes it");
        let text = String::from_utf8(text).expect("metrics are text");
        let line = text.lines().find(|line| line.starts_with("serin_regex_exhausted_total"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).expect("it is among the metrics")
    };
    let before = shown();
    let slow = Pattern::new(r"^(a|aa)+(?!x)b$", PatternFlags::VALUE).expect("it compiles");
    assert!(!slow.is_match(&[&[b'a'; 64][..], b"bc"].concat()));
    assert!(shown() > before);
}
