//! Which files a volume consists of: a function of the pod and of what was gathered for it, by the rules of a kubelet.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection};

use crate::kubelet::environment::Gathered;
use crate::kubelet::fields;
use crate::kubelet::objects::Kind;

use super::token::TokenKey;

/// The API's default mode of files.
const MODE: i32 = 0o644;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

/// By path in the volume.
pub(super) type Files = BTreeMap<String, File>;

/// The objects of which a volume is made.
pub(super) fn references(volume: &Volume) -> Vec<(Kind, String)> {
    let secret = volume.secret.iter().filter_map(|source| source.secret_name.clone());
    let map = volume.config_map.iter().map(|source| source.name.clone());
    let secret = secret.chain(projections(volume).filter_map(|source| Some(source.secret.as_ref()?.name.clone())));
    let map = map.chain(projections(volume).filter_map(|source| Some(source.config_map.as_ref()?.name.clone())));
    secret.map(|name| (Kind::Secret, name)).chain(map.map(|name| (Kind::ConfigMap, name))).collect()
}

/// The tokens that a volume contains.
pub(super) fn tokens(volume: &Volume) -> Vec<TokenKey> {
    let tokens = projections(volume).filter_map(|source| source.service_account_token.as_ref());
    tokens.map(|token| TokenKey::new(token.audience.clone(), token.expiration_seconds)).collect()
}

fn projections(volume: &Volume) -> impl Iterator<Item = &VolumeProjection> {
    volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten())
}

/// What the files of a volume depend on.
pub(super) struct Ask<'a> {
    pub(super) pod: &'a Pod,
    pub(super) address: Ipv4Addr,
    pub(super) gathered: &'a Gathered,
    pub(super) tokens: &'a BTreeMap<TokenKey, String>,
}

/// A Secret or ConfigMap as a source of files.
struct Source<'a> {
    kind: Kind,
    name: &'a str,
    items: Option<&'a Vec<KeyToPath>>,
    optional: Option<bool>,
}

impl Ask<'_> {
    /// # Errors
    /// What is missing or not supported, in the words of a kubelet.
    pub(super) fn files(&self, volume: &Volume) -> Result<Files, String> {
        let mut files = Files::new();
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let source = Source { kind: Kind::Secret, name, items: secret.items.as_ref(), optional: secret.optional };
            self.object(&source, secret.default_mode, &mut files)?;
        } else if let Some(map) = &volume.config_map {
            let source =
                Source { kind: Kind::ConfigMap, name: &map.name, items: map.items.as_ref(), optional: map.optional };
            self.object(&source, map.default_mode, &mut files)?;
        } else if let Some(downward) = &volume.downward_api {
            self.downward(downward.items.as_ref(), downward.default_mode, &mut files)?;
        } else if let Some(projected) = &volume.projected {
            for source in projected.sources.iter().flatten() {
                self.projection(source, projected.default_mode, &mut files)?;
            }
        } else {
            return Err("volumes of this type are not supported here".into());
        }
        Ok(files)
    }

    fn projection(&self, source: &VolumeProjection, mode: Option<i32>, files: &mut Files) -> Result<(), String> {
        if let Some(secret) = &source.secret {
            let source = Source {
                kind: Kind::Secret,
                name: &secret.name,
                items: secret.items.as_ref(),
                optional: secret.optional,
            };
            self.object(&source, mode, files)
        } else if let Some(map) = &source.config_map {
            let source =
                Source { kind: Kind::ConfigMap, name: &map.name, items: map.items.as_ref(), optional: map.optional };
            self.object(&source, mode, files)
        } else if let Some(downward) = &source.downward_api {
            self.downward(downward.items.as_ref(), mode, files)
        } else if let Some(token) = &source.service_account_token {
            let key = TokenKey::new(token.audience.clone(), token.expiration_seconds);
            let value = self.tokens.get(&key).ok_or("failed to fetch token")?;
            files.insert(token.path.clone(), file(value.as_bytes(), None, mode));
            Ok(())
        } else {
            Err("projections of this type are not supported here".into())
        }
    }

    fn object(&self, source: &Source<'_>, mode: Option<i32>, files: &mut Files) -> Result<(), String> {
        let Source { kind, name, items, optional } = *source;
        let optional = optional == Some(true);
        let Some(content) = self.gathered.get(&(kind, name.to_owned())) else {
            return if optional { Ok(()) } else { Err(format!("{} {name:?} not found", kind.word())) };
        };
        match items {
            None => files.extend(content.iter().map(|(key, value)| (key.clone(), file(value, None, mode)))),
            Some(items) => {
                for item in items {
                    match content.get(&item.key) {
                        Some(value) => drop(files.insert(item.path.clone(), file(value, item.mode, mode))),
                        None if optional => {}
                        None => return Err(format!("references non-existent {} key: {}", kind.word(), item.key)),
                    }
                }
            }
        }
        Ok(())
    }

    fn downward(
        &self,
        items: Option<&Vec<DownwardAPIVolumeFile>>,
        mode: Option<i32>,
        files: &mut Files,
    ) -> Result<(), String> {
        let containers = self.pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
        for item in items.into_iter().flatten() {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => fields::field(self.pod, self.address, &field.field_path)?,
                (None, Some(selector)) => fields::resource(containers, None, selector)?,
                (None, None) => continue,
            };
            files.insert(item.path.clone(), file(value.as_bytes(), item.mode, mode));
        }
        Ok(())
    }
}

fn file(content: &[u8], own: Option<i32>, default: Option<i32>) -> File {
    let mode = own.or(default).unwrap_or(MODE);
    File { content: content.to_vec(), mode: u32::try_from(mode).unwrap_or_default() & 0o777 }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn files(volume: Value) -> Result<Vec<String>, String> {
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}}});
        let content = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
        };
        let objects = Gathered::from([
            ((Kind::Secret, "s".into()), content(&[("tls.crt", "C"), ("tls.key", "K")])),
            ((Kind::ConfigMap, "m".into()), content(&[("ca.crt", "A")])),
        ]);
        let mut gathered = Gathered::new();
        for key in references(&volume) {
            gathered.extend(objects.get(&key).map(|content| (key, content.clone())));
        }
        let tokens = tokens(&volume).into_iter().map(|key| {
            let value = format!("token for {}", key.audience.as_deref().unwrap_or("-"));
            (key, value)
        });
        let pod = serde_json::from_value(pod).unwrap();
        let ask =
            Ask { pod: &pod, address: Ipv4Addr::new(127, 96, 0, 3), gathered: &gathered, tokens: &tokens.collect() };
        let files = ask.files(&volume)?;
        let shown = files
            .iter()
            .map(|(path, file)| format!("{path} {:o} {}", file.mode, String::from_utf8_lossy(&file.content)));
        Ok(shown.collect())
    }

    #[test]
    fn a_secret_is_one_file_per_key() {
        let shown = files(json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 0o400}})).unwrap();
        assert_eq!(shown, ["tls.crt 400 C", "tls.key 400 K"]);
    }

    #[test]
    fn items_choose_rename_and_set_modes() {
        let items = json!([{"key": "tls.key", "path": "private/key", "mode": 0o600}]);
        let shown = files(json!({"name": "v", "secret": {"secretName": "s", "items": items}})).unwrap();
        assert_eq!(shown, ["private/key 600 K"]);
    }

    #[test]
    fn what_is_missing_is_named_unless_it_is_optional() {
        let map = |name: &str, key: &str, optional: bool| {
            files(json!({"name": "v", "configMap": {
                "name": name, "optional": optional, "items": [{"key": key, "path": "x"}]}}))
        };
        assert_eq!(map("none", "k", false).unwrap_err(), "configmap \"none\" not found");
        assert_eq!(map("m", "k", false).unwrap_err(), "references non-existent configmap key: k");
        assert_eq!(map("none", "k", true).unwrap(), [] as [&str; 0]);
        assert_eq!(map("m", "k", true).unwrap(), [] as [&str; 0]);
    }

    #[test]
    fn a_projection_gathers_its_sources() {
        let shown = files(json!({"name": "v", "projected": {"defaultMode": 0o440, "sources": [
            {"serviceAccountToken": {"path": "token", "audience": "sts", "expirationSeconds": 7200}},
            {"serviceAccountToken": {"path": "api", "expirationSeconds": 3607}},
            {"configMap": {"name": "m"}},
            {"secret": {"name": "s", "items": [{"key": "tls.crt", "path": "cert"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]}}));
        let expected =
            ["api 440 token for -", "ca.crt 440 A", "cert 440 C", "namespace 440 n", "token 440 token for sts"];
        assert_eq!(shown.unwrap(), expected);
    }

    #[test]
    fn the_downward_api_tells_labels() {
        let items = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]);
        assert_eq!(files(json!({"name": "v", "downwardAPI": {"items": items}})).unwrap(), ["labels 644 a=\"b\""]);
    }

    #[test]
    fn other_volumes_are_refused() {
        assert!(files(json!({"name": "v", "hostPath": {"path": "/"}})).is_err());
        assert!(files(json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}})).is_err());
        let sources = json!([{"clusterTrustBundle": {"path": "x"}}]);
        assert!(files(json!({"name": "v", "projected": {"sources": sources}})).is_err());
    }
}
