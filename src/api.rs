//! The Kubernetes kinds that Serin uses.
//!
//! Everything that a `source` reads becomes an [`Object`] here: trimmed to what is used, with the defaults that an API
//! server would have written, so that objects from files and from a cluster are alike from this point on. Other modules
//! name Kubernetes types only by way of this one.

use std::{collections::BTreeMap, fmt, ops::Deref, sync::Arc};

pub use k8s_openapi::{
    ByteString,
    api::{
        core::v1::{
            ClientIPConfig, ConfigMap, Namespace, Secret, Service, ServicePort, ServiceSpec, SessionAffinityConfig,
            TypedLocalObjectReference,
        },
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
        networking::v1::{
            HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressClass, IngressClassSpec,
            IngressRule, IngressServiceBackend, IngressSpec, IngressTLS, ServiceBackendPort,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, Time},
        util::intstr::IntOrString,
    },
    jiff::Timestamp,
};

use zeroize::Zeroize;

use crate::key::{Kind, ObjectKey};

/// The label by which an EndpointSlice names its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The annotation that marks the IngressClass of Ingresses that name none.
pub const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// The former way for an Ingress to name its class.
pub const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Where objects live whose manifest names no namespace.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A copy of the object that `kubectl apply` leaves on it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object of a kind that is read.
///
/// It is cheap to clone, and made from the bare kinds by [`From`], which trims and completes them. Its `Debug` form is
/// its name alone, since a Secret must not reach a log.
#[derive(Clone)]
pub enum Object {
    ConfigMap(Arc<ConfigMap>),
    EndpointSlice(Arc<EndpointSlice>),
    Ingress(Arc<Ingress>),
    IngressClass(Arc<IngressClass>),
    Namespace(Arc<Namespace>),
    Secret(Arc<Sealed>),
    Service(Arc<Service>),
}

/// A Secret as it is kept: what it holds is overwritten when it is dropped.
///
/// That is all that can be done about it here. The text that it was read from, and what libraries made of it meanwhile,
/// is not ours to overwrite.
#[derive(PartialEq)]
pub struct Sealed(Secret);

/// The name of the Service that a slice belongs to.
#[must_use]
pub fn service_of(slice: &EndpointSlice) -> Option<&str> {
    slice.metadata.labels.as_ref()?.get(SERVICE_NAME).map(String::as_str)
}

/// Whether a Service stands for a name of DNS.
#[must_use]
pub fn is_external(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName")
}

/// The ports of a Service.
#[must_use]
pub fn ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default()
}

/// The ports of a Service that something can be served by.
pub fn tcp_ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    ports(service).iter().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
}

// === impl Object ===

impl Object {
    /// The kind of the object.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Ingress(_) => Kind::Ingress,
            Self::IngressClass(_) => Kind::IngressClass,
            Self::Namespace(_) => Kind::Namespace,
            Self::Secret(_) => Kind::Secret,
            Self::Service(_) => Kind::Service,
        }
    }

    /// The name of the object.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        let metadata = self.metadata();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        ObjectKey::new(self.kind(), namespace, metadata.name.as_deref().unwrap_or_default())
    }

    /// What tells it from another object that had the same name before.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.metadata().uid.as_deref()
    }

    /// What the API server calls this state of the object.
    #[must_use]
    pub fn resource_version(&self) -> Option<&str> {
        self.metadata().resource_version.as_deref()
    }

    /// When it was created. A manifest in a file usually does not say.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        self.metadata().creation_timestamp.as_ref().map(|time| time.0)
    }

    /// What all kinds have in common.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::ConfigMap(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Ingress(object) => &object.metadata,
            Self::IngressClass(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
        }
    }

    /// Whether it says the same as another: all that traffic could depend on is equal.
    ///
    /// The resource version and the status differ after every report on an object, ours included, and do not count.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let bodies = match (self, other) {
            (Self::ConfigMap(a), Self::ConfigMap(b)) => {
                Arc::ptr_eq(a, b) || (a.data == b.data && a.binary_data == b.binary_data)
            }
            (Self::EndpointSlice(a), Self::EndpointSlice(b)) => {
                Arc::ptr_eq(a, b)
                    || (a.address_type == b.address_type && a.endpoints == b.endpoints && a.ports == b.ports)
            }
            (Self::Ingress(a), Self::Ingress(b)) => Arc::ptr_eq(a, b) || a.spec == b.spec,
            (Self::IngressClass(a), Self::IngressClass(b)) => Arc::ptr_eq(a, b) || a.spec == b.spec,
            (Self::Namespace(_), Self::Namespace(_)) => true,
            (Self::Secret(a), Self::Secret(b)) => Arc::ptr_eq(a, b) || (a.data == b.data && a.type_ == b.type_),
            (Self::Service(a), Self::Service(b)) => Arc::ptr_eq(a, b) || a.spec == b.spec,
            _ => false,
        };
        let (a, b) = (self.metadata(), other.metadata());
        bodies
            && a.name == b.name
            && a.namespace == b.namespace
            && a.uid == b.uid
            && a.creation_timestamp == b.creation_timestamp
            && a.deletion_timestamp == b.deletion_timestamp
            && a.labels == b.labels
            && a.annotations == b.annotations
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.key(), f)
    }
}

impl From<ConfigMap> for Object {
    fn from(mut object: ConfigMap) -> Self {
        arrive(&mut object.metadata);
        live_in_namespace(&mut object.metadata);
        Self::ConfigMap(Arc::new(object))
    }
}

impl From<EndpointSlice> for Object {
    fn from(mut object: EndpointSlice) -> Self {
        arrive(&mut object.metadata);
        live_in_namespace(&mut object.metadata);
        Self::EndpointSlice(Arc::new(object))
    }
}

impl From<Ingress> for Object {
    fn from(mut object: Ingress) -> Self {
        arrive(&mut object.metadata);
        live_in_namespace(&mut object.metadata);
        Self::Ingress(Arc::new(object))
    }
}

impl From<IngressClass> for Object {
    fn from(mut object: IngressClass) -> Self {
        arrive(&mut object.metadata);
        object.metadata.namespace = None;
        Self::IngressClass(Arc::new(object))
    }
}

impl From<Namespace> for Object {
    fn from(mut object: Namespace) -> Self {
        arrive(&mut object.metadata);
        object.metadata.namespace = None;
        Self::Namespace(Arc::new(object))
    }
}

impl From<Secret> for Object {
    fn from(mut object: Secret) -> Self {
        arrive(&mut object.metadata);
        live_in_namespace(&mut object.metadata);
        // What an API server does with the write-only field.
        if let Some(texts) = object.string_data.take() {
            let data = object.data.get_or_insert_with(BTreeMap::new);
            data.extend(texts.into_iter().map(|(name, text)| (name, ByteString(text.into_bytes()))));
        }
        Self::Secret(Arc::new(Sealed(object)))
    }
}

impl From<Service> for Object {
    fn from(mut object: Service) -> Self {
        arrive(&mut object.metadata);
        live_in_namespace(&mut object.metadata);
        Self::Service(Arc::new(object))
    }
}

// === impl Sealed ===

impl Sealed {
    fn overwrite(&mut self) {
        self.0.data.iter_mut().flat_map(BTreeMap::values_mut).for_each(|value| value.0.zeroize());
    }
}

impl Deref for Sealed {
    type Target = Secret;

    fn deref(&self) -> &Secret {
        &self.0
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.overwrite();
    }
}

/// The name alone.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealed").field(&self.metadata.namespace).field(&self.metadata.name).finish()
    }
}

/// Drops what nobody reads and what is often larger than the rest of the object.
fn arrive(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// Writes the namespace that an object without one gets from `kubectl apply`.
fn live_in_namespace(metadata: &mut ObjectMeta) {
    if metadata.namespace.as_deref().unwrap_or_default().is_empty() {
        metadata.namespace = Some(DEFAULT_NAMESPACE.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(name: &str) -> ObjectMeta {
        ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
    }

    #[test]
    fn objects_without_a_namespace_live_in_default_and_classes_in_none() {
        let ingress = Object::from(Ingress { metadata: named("web"), ..Ingress::default() });
        assert_eq!(ingress.key(), ObjectKey::ingress("default", "web"));

        let metadata = ObjectMeta { namespace: Some("shop".to_owned()), ..named("nginx") };
        let class = Object::from(IngressClass { metadata, ..IngressClass::default() });
        assert_eq!(class.key(), ObjectKey::new(Kind::IngressClass, "", "nginx"));
    }

    #[test]
    fn unused_parts_are_dropped_on_arrival() {
        let annotations = [(LAST_APPLIED, "{}"), ("kept", "yes")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let metadata =
            ObjectMeta { annotations: Some(annotations.into()), managed_fields: Some(Vec::new()), ..named("web") };
        let object = Object::from(Service { metadata, ..Service::default() });
        assert_eq!(object.metadata().managed_fields, None);
        let annotations = object.metadata().annotations.as_ref().expect("one is kept");
        assert_eq!(annotations.keys().collect::<Vec<_>>(), ["kept"]);
    }

    #[test]
    fn fields_of_a_newer_kubernetes_are_passed_over() {
        let known = json!({ "metadata": { "name": "web" }, "spec": { "ingressClassName": "nginx" } });
        let mut newer = known.clone();
        newer["new"] = json!([1]);
        newer["metadata"]["new"] = json!({ "of": "a kind" });
        newer["spec"]["new"] = json!(true);
        let [known, newer] = [known, newer].map(|object| serde_json::from_value::<Ingress>(object).expect("it is one"));
        assert!(Object::from(known).says_the_same(&Object::from(newer)));
    }

    #[test]
    fn what_a_secret_held_is_overwritten() {
        let data = [("key".to_owned(), ByteString(b"hunter2".to_vec()))];
        let mut secret = Sealed(Secret { metadata: named("s"), data: Some(data.into()), ..Secret::default() });
        secret.overwrite();
        assert!(secret.data.iter().flat_map(BTreeMap::values).all(|value| value.0.is_empty()));
    }

    #[test]
    fn string_data_of_a_secret_wins_over_its_data() {
        let data = [("a", "old"), ("b", "kept")].map(|(k, v)| (k.to_owned(), ByteString(v.into())));
        let texts = [("a", "new")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let secret = Secret {
            metadata: named("s"),
            data: Some(data.into()),
            string_data: Some(texts.into()),
            ..Secret::default()
        };
        let Object::Secret(secret) = Object::from(secret) else { panic!("it is a Secret") };
        let data = secret.data.as_ref().expect("it has data");
        assert_eq!((data["a"].0.as_slice(), data["b"].0.as_slice()), (&b"new"[..], &b"kept"[..]));
        assert_eq!(secret.string_data, None);
    }

    #[test]
    fn secrets_are_not_printed() {
        let data = [("password".to_owned(), ByteString(b"hunter2".to_vec()))];
        let secret = Secret { metadata: named("s"), data: Some(data.into()), ..Secret::default() };
        assert_eq!(format!("{:?}", Object::from(secret)), "Secret default/s");
    }

    #[test]
    fn a_report_on_an_object_does_not_change_what_it_says() {
        let ingress = Ingress { metadata: named("web"), ..Ingress::default() };
        let mut reported = ingress.clone();
        reported.metadata.resource_version = Some("2".to_owned());
        reported.status = Some(Default::default());
        assert!(Object::from(ingress.clone()).says_the_same(&Object::from(reported.clone())));

        reported.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        assert!(!Object::from(ingress).says_the_same(&Object::from(reported)));
    }
}
