//! What translation is told besides the objects.

use std::sync::Arc;

use crate::{
    http::forwarded::Trust,
    route::{Balance, Policy},
};

/// The settings of translation.
///
/// The defaults are ingress-nginx's, but for `standalone`, which has no counterpart there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The prefix of the annotations that ingress-nginx defined, without the slash.
    pub annotation_prefix: Arc<str>,
    /// The name of the class in the former annotation, and of IngressClasses that count by name.
    pub ingress_class: Arc<str>,
    /// The controller of the IngressClasses that are ours.
    pub controller_class: Arc<str>,
    /// Whether the IngressClass named `ingress_class` is ours whatever its controller.
    pub ingress_class_by_name: bool,
    /// Whether Ingresses without a class are ours.
    pub watch_ingress_without_class: bool,
    /// Whether the objects come from files, where no API server has given Ingresses the default class, and where the
    /// class named `ingress_class` is ours if there is no IngressClass at all.
    pub standalone: bool,
    /// Namespace and name of the Service that serves what no route does.
    pub default_backend: Option<(Arc<str>, Arc<str>)>,
    /// Namespace and name of the Secret with the certificate for hosts that have no other.
    pub default_certificate: Option<(Arc<str>, Arc<str>)>,
    /// Whether a Service of type ExternalName is served at all.
    pub external_names: bool,
    /// Whether an ExternalName may be an address of this machine or its link.
    pub local_external_names: bool,
    /// The policy of routes whose Ingress says nothing else.
    pub policy: Policy,
    /// Which endpoint is next where the Ingress says nothing else.
    pub balance: Balance,
    /// `ssl-redirect` of Ingresses that do not set it.
    pub ssl_redirect: bool,
    /// `force-ssl-redirect` of Ingresses that do not set it.
    pub force_ssl_redirect: bool,
    /// Paths of Ingresses that begin with one of these are never redirected to https.
    pub no_ssl_redirect: Arc<[Arc<str>]>,
    /// `service-upstream` of Ingresses that do not set it.
    pub service_upstream: bool,
    /// Whose word about a client is believed. No object depends on it; what is wrong with it is found here, too.
    pub trust: Trust,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            annotation_prefix: "nginx.ingress.kubernetes.io".into(),
            ingress_class: "nginx".into(),
            controller_class: "k8s.io/ingress-nginx".into(),
            ingress_class_by_name: false,
            watch_ingress_without_class: false,
            standalone: true,
            default_backend: None,
            default_certificate: None,
            external_names: true,
            local_external_names: false,
            policy: Policy::default(),
            balance: Balance::default(),
            ssl_redirect: true,
            force_ssl_redirect: false,
            no_ssl_redirect: ["/.well-known/acme-challenge".into()].into(),
            service_upstream: false,
            trust: Trust::default(),
        }
    }
}
