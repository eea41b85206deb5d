//! A program of the test bed's own in Go, in a module of its own: built once for what its sources and its requirements are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::build::{self, Source};
use super::go::Go;
use crate::cache::{Cache, digest};

/// It carries no version.
const FLAGS: &str = "-s -w";

/// The executable of the one program in this module, built if it is not in the cache.
///
/// # Errors
/// When Go is missing or too old, or the build fails.
pub async fn ensure(cache: &Cache, module: &Path, name: &'static str) -> anyhow::Result<PathBuf> {
    let go = Go::find(module).await?;
    let mut inputs = vec![go.version.into_bytes(), go.system.into_bytes(), go.architecture.into_bytes()];
    for file in ["go.mod", "go.sum", "main.go"] {
        let path = module.join(file);
        inputs.push(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let directory = cache.root().join(name).join(digest(inputs.iter().map(Vec::as_slice)));
    let bin = directory.join("bin");
    let program = bin.join(name);
    if !program.exists() {
        let _lock = cache.lock(name).await?;
        // Asked again under the lock: the run that was waited for has built it.
        if !program.exists() {
            let source = Source { name, package: "." };
            build::all(&[source], module, FLAGS, &directory, &bin).await?;
        }
    }
    Ok(program)
}
