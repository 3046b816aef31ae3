//! Finding a route: by host, by path, and the whole decision for a plain request.
//!
//! `cargo bench --bench lookup` prints times and allocations at 10, 1,000 and 100,000 routes. `matchit` stands beside
//! our own index, over the same paths.

use std::{net::IpAddr, sync::Arc};

use divan::{AllocProfiler, Bencher, black_box};
use serin::{
    draw::Given,
    key::{Hostname, ObjectKey, PathType, RouteId},
    route::{
        Host, HostBuilder, HostTable, NoTrace, PathRule, Pattern, PatternFlags, Policy, Request, Route, Scheme, Side,
        Split, Table, decide,
    },
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const ROUTES: [usize; 3] = [10, 1_000, 100_000];
/// How many routes a host has where there are several hosts.
const PER_HOST: usize = 10;

fn main() {
    divan::main();
}

// === Paths of one host ===

#[divan::bench(args = ROUTES, sample_count = 300, sample_size = 2000)]
fn path_by_index(bencher: Bencher<'_, '_>, routes: usize) {
    let host = host("shop.example", routes);
    let asked = asked(routes);
    let mut next = asked.iter().cycle();
    bencher.bench_local(|| {
        let path = next.next().expect("the paths go round").as_bytes();
        black_box(host.find(black_box(path)).expect("it fits").route.id.path.len())
    });
}

#[divan::bench(args = ROUTES, sample_count = 300, sample_size = 2000)]
fn path_by_matchit(bencher: Bencher<'_, '_>, routes: usize) {
    let mut router = matchit::Router::new();
    for (at, path) in paths(routes).enumerate() {
        router.insert(&path, at).expect("paths differ");
        router.insert(format!("{path}/"), at).expect("paths differ");
        router.insert(format!("{path}/{{*rest}}"), at).expect("paths differ");
    }
    let asked = asked(routes);
    let mut next = asked.iter().cycle();
    bencher.bench_local(|| {
        let path = next.next().expect("the paths go round");
        black_box(*router.at(black_box(path)).expect("it fits").value)
    });
}

/// Where one route of a host is a regex all are, and they are tried one after the other.
#[divan::bench(args = [10, 100, 1_000])]
fn path_by_regex(bencher: Bencher<'_, '_>, routes: usize) {
    let name = Hostname::parse("shop.example").expect("it is a host");
    let host = HostBuilder::new(name.clone())
        .extend(paths(routes).map(|path| {
            let rule =
                PathRule::Regex(Pattern::new(&format!("{path}(/|$)(.*)"), PatternFlags::PATH).expect("it compiles"));
            route(&name, path.into(), rule, Arc::default())
        }))
        .build();
    let asked = asked(routes);
    let mut next = asked.iter().cycle();
    bencher.bench_local(|| {
        let path = next.next().expect("the paths go round").as_bytes();
        black_box(host.find(black_box(path)).expect("it fits").route.id.path.len())
    });
}

// === Many hosts ===

#[divan::bench(args = ROUTES)]
fn host_exact(bencher: Bencher<'_, '_>, routes: usize) {
    find_host(bencher, routes, "shop-{}.example");
}

#[divan::bench(args = ROUTES)]
fn host_with_capitals_and_port(bencher: Bencher<'_, '_>, routes: usize) {
    find_host(bencher, routes, "Shop-{}.Example:8080");
}

#[divan::bench(args = ROUTES)]
fn host_wildcard(bencher: Bencher<'_, '_>, routes: usize) {
    find_host(bencher, routes, "any.shop-{}.example");
}

fn find_host(bencher: Bencher<'_, '_>, routes: usize, name: &str) {
    let table = table(routes);
    let asked: Vec<_> = (0..1000).map(|at| name.replace("{}", &(at * 97 % (routes / PER_HOST)).to_string())).collect();
    let mut next = asked.iter().cycle();
    bencher.bench_local(|| {
        let name = next.next().expect("the names go round").as_bytes();
        black_box(table.find_host(black_box(name)).expect("it is there").0)
    });
}

/// A plain request: no canary, no redirect, nothing to change.
#[divan::bench(args = ROUTES)]
fn decide_plain(bencher: Bencher<'_, '_>, routes: usize) {
    let table = table(routes);
    let asked: Vec<_> = (0..1000)
        .map(|at| Get {
            host: format!("shop-{}.example", at * 97 % (routes / PER_HOST)),
            target: format!("/area-0/section-{}/cart?item=7", at % PER_HOST),
        })
        .collect();
    let mut next = asked.iter().cycle();
    bencher.bench_local(|| {
        let request = next.next().expect("the requests go round");
        black_box(decide(&table, black_box(request), &mut Given::new([]), 0, |_| true, &mut NoTrace));
    });
}

/// One host of many is replaced.
#[divan::bench(args = ROUTES)]
fn change_one_host(bencher: Bencher<'_, '_>, routes: usize) {
    let table = table(routes);
    let name = Hostname::parse("shop-0.example").expect("it is a host");
    let changed = Arc::new(Host::Routes(host("shop-0.example", PER_HOST)));
    bencher.bench_local(|| black_box(table.with_host(name.clone(), Some(changed.clone()))));
}

// === What is asked ===

/// `/area-0/section-0`, `/area-0/section-1`, …
fn paths(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|at| format!("/area-{}/section-{}", at / 100, at % 100))
}

/// A thousand paths below those of the routes, and the routes' own.
fn asked(routes: usize) -> Vec<String> {
    let paths: Vec<_> = paths(routes).collect();
    (0..1000)
        .map(|at| {
            let path = &paths[at * 7919 % routes];
            if at % 2 == 0 { path.clone() } else { format!("{path}/items/{at}") }
        })
        .collect()
}

fn host(name: &str, routes: usize) -> HostTable<u32, ()> {
    let host = Hostname::parse(name).expect("it is a host");
    let policy = Arc::<Policy>::default();
    let routes = paths(routes).map(|path| {
        let path: Arc<str> = path.into();
        route(&host, path.clone(), PathRule::Prefix(path), policy.clone())
    });
    HostBuilder::new(host.clone()).extend(routes).build()
}

fn route(host: &Hostname, path: Arc<str>, rule: PathRule, policy: Arc<Policy>) -> Route<u32, ()> {
    Route {
        id: RouteId {
            host: host.clone(),
            path,
            path_type: PathType::Prefix,
            ingress: ObjectKey::ingress("shop", "web"),
        },
        state: (),
        path: rule,
        split: Split::to(Side::new(0, "shop-web-80")),
        policy,
        service: "web".into(),
    }
}

/// Hosts of [`PER_HOST`] routes, each also with a wildcard.
fn table(routes: usize) -> Table<u32, ()> {
    let hosts = (0..routes / PER_HOST).flat_map(|at| {
        ["", "*."].map(|wildcard| {
            let name = format!("{wildcard}shop-{at}.example");
            let host = Host::Routes(host(&name, PER_HOST));
            (Hostname::parse(&name).expect("it is a host"), Some(Arc::new(host)))
        })
    });
    Table::new().with_hosts(hosts)
}

struct Get {
    host: String,
    target: String,
}

impl Request for Get {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn authority(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        [(&b"User-Agent"[..], &b"bench"[..]), (b"Accept", b"*/*")].into_iter()
    }

    fn client(&self) -> IpAddr {
        [192, 0, 2, 1].into()
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn port(&self) -> u16 {
        80
    }

    fn server_name(&self) -> Option<&[u8]> {
        None
    }

    fn request_id(&self) -> &[u8] {
        b"0123456789abcdef0123456789abcdef"
    }
}
