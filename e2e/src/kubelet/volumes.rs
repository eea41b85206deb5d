//! A pod's volumes on disk: set up before its containers start, kept up to date while they run. Content that was
//! mounted stays when its source goes, as a kubelet leaves it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Volume};
use kube::ResourceExt;

use super::Node;
use super::environment::Gathered;
use super::objects::{Kind, Object};

mod atomic;
mod payload;
mod token;

use payload::Files;
use token::{Token, TokenKey};

/// How often mounted content is compared with its source. A kubelet's sync period, in real time.
pub(super) const REFRESH: Duration = Duration::from_secs(60);

/// The volumes of one pod.
pub(super) struct Volumes {
    directory: PathBuf,
    address: std::net::Ipv4Addr,
    /// What is on disk.
    written: BTreeMap<String, Files>,
    tokens: BTreeMap<TokenKey, Token>,
    /// Immutable objects are read once: one that was replaced meanwhile does not reach a pod that mounted the old one.
    immutable: BTreeMap<(Kind, String), Object>,
}

/// Where a volume is. A link from a container's root leads here.
pub(super) fn path(pod_directory: &Path, volume: &str) -> PathBuf {
    pod_directory.join("volumes").join(volume)
}

impl Volumes {
    pub(super) fn new(pod_directory: &Path, address: std::net::Ipv4Addr) -> Volumes {
        Volumes {
            directory: pod_directory.to_owned(),
            address,
            written: BTreeMap::new(),
            tokens: BTreeMap::new(),
            immutable: BTreeMap::new(),
        }
    }

    /// Makes all volumes what they should be.
    ///
    /// # Errors
    /// The first failure, in the words of a kubelet's event; the others were tried all the same.
    pub(super) async fn settle(&mut self, node: &Node, pod: &Pod) -> Result<(), String> {
        let mut outcome = Ok(());
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let settled = self.settle_one(node, pod, volume).await;
            let told = |why| format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name);
            outcome = outcome.and(settled.map_err(told));
        }
        outcome
    }

    async fn settle_one(&mut self, node: &Node, pod: &Pod, volume: &Volume) -> Result<(), String> {
        let path = path(&self.directory, &volume.name);
        fs::create_dir_all(&path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        if volume.empty_dir.is_some() {
            return Ok(());
        }
        let gathered = self.gather(node, pod, &payload::references(volume)).await?;
        let mut tokens = BTreeMap::new();
        for key in payload::tokens(volume) {
            let value = self.token(node, pod, &key).await?;
            tokens.insert(key, value);
        }
        let ask = payload::Ask { pod, address: self.address, gathered: &gathered, tokens: &tokens };
        let files = ask.files(volume)?;
        if self.written.get(&volume.name) != Some(&files) {
            atomic::write(&path, &files).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            self.written.insert(volume.name.clone(), files);
        }
        Ok(())
    }

    async fn gather(&mut self, node: &Node, pod: &Pod, references: &[(Kind, String)]) -> Result<Gathered, String> {
        let namespace = pod.namespace().unwrap_or_default();
        let mut gathered = Gathered::new();
        for key in references {
            let object = match self.immutable.get(key) {
                Some(object) => Some(object.clone()),
                None => node.objects.get(key.0, &namespace, &key.1).await.map_err(|error| error.to_string())?,
            };
            let Some(object) = object else { continue };
            if object.immutable {
                self.immutable.insert(key.clone(), object.clone());
            }
            gathered.insert(key.clone(), object.content);
        }
        Ok(gathered)
    }

    async fn token(&mut self, node: &Node, pod: &Pod, key: &TokenKey) -> Result<String, String> {
        if let Some(token) = self.tokens.get(key).filter(|token| token.is_fresh()) {
            return Ok(token.value.clone());
        }
        match token::request(&node.client, pod, key).await {
            Ok(token) => {
                let value = token.value.clone();
                self.tokens.insert(key.clone(), token);
                Ok(value)
            }
            // The old one is good for a while yet.
            Err(_) if self.tokens.get(key).is_some_and(Token::is_valid) => Ok(self.tokens[key].value.clone()),
            Err(error) => Err(format!("failed to fetch token: {error}")),
        }
    }
}
