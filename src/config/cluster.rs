//! Which API server is watched, and what of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ObjectFlags;
use crate::source::api_server::{self, Namespaces, SecretAccess};

/// Flags that say where the API server is and what is read there. Of no use with `--manifests`.
#[derive(Args, Clone, Debug)]
pub struct ClusterFlags {
    /// The file that says where the API server is and who asks. Without it, KUBECONFIG, `~/.kube/config` and the account
    /// of the pod are looked for, in this order.
    #[arg(long, env = "SERIN_KUBECONFIG", value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,

    /// Reads the objects of this namespace alone.
    #[arg(long, env = "SERIN_WATCH_NAMESPACE", value_name = "NAME", conflicts_with = "watch_namespace_selector")]
    pub watch_namespace: Option<String>,

    /// Reads the objects of namespaces with these labels alone: `team=shop`, `tier in (web, api)`.
    #[arg(long, env = "SERIN_WATCH_NAMESPACE_SELECTOR", value_name = "SELECTOR")]
    pub watch_namespace_selector: Option<String>,

    /// How Secrets are read. What is not of the type `kubernetes.io/tls` is always read one by one, when an object
    /// names it.
    #[arg(long, env = "SERIN_SECRETS", value_enum, default_value_t = Secrets::Cluster, value_name = "WAY")]
    pub secrets: Secrets,
}

/// How Secrets are read.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secrets {
    /// Those of the type `kubernetes.io/tls` are listed wherever objects are read.
    Cluster,
    /// They are listed in the namespaces in which an object names one.
    Namespaces,
    /// Each is read when an object names it, so that a role can list the names.
    Named,
}

// === impl ClusterFlags ===

impl ClusterFlags {
    /// The settings of the source.
    #[must_use]
    pub fn source(&self, objects: &ObjectFlags) -> api_server::Config {
        let given = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Into::into);
        let namespaces = match (given(&self.watch_namespace), given(&self.watch_namespace_selector)) {
            (Some(namespace), _) => Namespaces::One(namespace),
            (None, Some(labels)) => Namespaces::Labelled(labels),
            (None, None) => Namespaces::All,
        };
        api_server::Config {
            namespaces,
            secrets: match self.secrets {
                Secrets::Cluster => SecretAccess::Cluster,
                Secrets::Namespaces => SecretAccess::Namespaces,
                Secrets::Named => SecretAccess::Named,
            },
            class: (objects.ingress_class.as_str().into(), objects.controller_class.as_str().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunFlags;

    fn flags(arguments: &[&str]) -> Result<RunFlags, String> {
        RunFlags::from_arguments(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn files_are_served_instead_of_a_cluster_and_not_beside_it() {
        assert!(flags(&["--manifests", "shop"]).is_ok());
        let cluster: [&[&str]; 4] = [
            &["--kubeconfig", "config"],
            &["--watch-namespace", "shop"],
            &["--watch-namespace-selector", "team=shop"],
            &["--secrets", "named"],
        ];
        for beside in cluster {
            assert!(flags(beside).is_ok(), "{beside:?}");
            let refused = flags(&[&["--manifests", "shop"], beside].concat()).expect_err("it says two things at once");
            assert!(refused.contains("--manifests") && refused.contains(beside[0]), "{refused}");
        }
    }

    #[test]
    fn a_namespace_is_named_or_selected() {
        assert!(flags(&["--watch-namespace", "shop", "--watch-namespace-selector", "team=shop"]).is_err());
        let namespaces = |arguments: &[&str]| {
            let flags = flags(arguments).expect("they are good");
            flags.cluster.source(&flags.objects).namespaces
        };
        assert_eq!(namespaces(&[]), Namespaces::All);
        assert_eq!(namespaces(&["--watch-namespace", ""]), Namespaces::All, "as ingress-nginx's chart has it");
        assert_eq!(namespaces(&["--watch-namespace", "shop"]), Namespaces::One("shop".into()));
        assert_eq!(namespaces(&["--watch-namespace-selector", "a=b"]), Namespaces::Labelled("a=b".into()));
    }
}
