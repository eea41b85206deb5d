//! Where the test bed keeps what outlives a run: built tools, the Python environment, and the directories of running
//! test beds. It owns the paths and the locks between runs side by side; what is built there is not its business.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use sha2::{Digest, Sha256};

mod run_dir;

pub use run_dir::RunDir;

/// How often a waiting run looks whether the other one is done.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// The cache directory of this user.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Exclusive right to build one thing in the cache. The kernel gives it back when this process ends in any way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// `$TENANT_OPERATOR_CACHE`, or `tenant-operator` in the user's cache directory.
    ///
    /// # Errors
    /// When no such directory can be named.
    pub fn from_env() -> anyhow::Result<Cache> {
        if let Some(root) = set("TENANT_OPERATOR_CACHE") {
            let root = std::path::absolute(&root).with_context(|| format!("TENANT_OPERATOR_CACHE is {root:?}"))?;
            return Ok(Cache { root });
        }
        // The XDG base directory specification: a relative path is to be ignored.
        let caches = set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let caches = match caches {
            Some(caches) => caches,
            None => set("HOME").context("set HOME or TENANT_OPERATOR_CACHE: neither is set")?.join(".cache"),
        };
        Ok(Cache { root: caches.join("tenant-operator") })
    }

    /// A cache in this directory.
    pub fn at(root: impl Into<PathBuf>) -> Cache {
        Cache { root: root.into() }
    }

    /// The directory itself; it may not exist yet.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Waits until no other run builds `what`, saying so once on the terminal, and claims it.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub async fn lock(&self, what: &str) -> anyhow::Result<Lock> {
        let path = self.root.join("locks").join(what);
        let file = open(&path)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
            if !told {
                eprintln!("{what}: another run is building this, waiting for it");
                told = true;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }
}

/// Names a result after everything that went into it.
pub fn digest<'a>(inputs: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        // With the length in front, moving a byte from one input to the next changes the digest.
        hash.update((input.len() as u64).to_be_bytes());
        hash.update(input);
    }
    hex::encode(&hash.finalize()[..12])
}

fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn open(path: &Path) -> anyhow::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_tells_inputs_apart() {
        let of = |inputs: &[&str]| digest(inputs.iter().map(|input| input.as_bytes()));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab", "c"]), of(&["ab", "c", ""]));
    }

    #[tokio::test]
    async fn a_second_run_waits_for_the_lock_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let first = cache.lock("thing").await.unwrap();
        let mut second = Box::pin(cache.lock("thing"));
        assert!(tokio::time::timeout(LOCK_POLL * 2, &mut second).await.is_err(), "the lock was given twice");
        drop(first);
        tokio::time::timeout(Duration::from_secs(10), second).await.expect("the lock was not given back").unwrap();
    }
}
