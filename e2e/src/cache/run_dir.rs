//! The directory of one running test bed. It is gone when the test bed is; what a killed run left is removed by the
//! next one. A file in it stays locked while its owner lives, so that nobody has to trust a process id.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Cache, open};

const ALIVE: &str = "alive";
/// How long a child that was just killed may still write into a directory which is being removed.
const REMOVAL: Duration = Duration::from_secs(2);

/// One run's directory, removed when dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    _alive: File,
}

impl RunDir {
    /// Makes a new directory, after removing those of runs that are dead.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn create(cache: &Cache) -> anyhow::Result<RunDir> {
        let runs = cache.root().join("run");
        fs::create_dir_all(&runs).with_context(|| format!("cannot create {}", runs.display()))?;
        // Under this lock a directory without a locked file belongs to a dead run, never to one that just begins.
        let guard = open(&cache.root().join("locks/run"))?;
        guard.lock().context("cannot lock the directory of runs")?;
        remove_dead(&runs)?;
        let path = tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .tempdir_in(&runs)
            .with_context(|| format!("cannot create a directory in {}", runs.display()))?
            .keep();
        let alive = open(&path.join(ALIVE))?;
        alive.try_lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(RunDir { path, _alive: alive })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A subdirectory, made when it does not exist.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn subdirectory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("cannot remove {}: {error}; the next run will", self.path.display());
        }
    }
}

fn remove_dead(runs: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(runs).with_context(|| format!("cannot list {}", runs.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", runs.display()))?.path();
        let alive = match File::options().write(true).open(path.join(ALIVE)) {
            Ok(file) => file.try_lock().is_err(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if !alive && let Err(error) = remove(&path) {
            eprintln!("cannot remove {}, which a dead run left: {error}", path.display());
        }
    }
    Ok(())
}

/// Removes the tree, again while a dying process still adds to it.
fn remove(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + REMOVAL;
    loop {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_runs_directory_goes_and_a_living_ones_stays() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let living = RunDir::create(&cache).unwrap();
        let dead = directory.path().join("run/1-dead");
        fs::create_dir_all(dead.join("etcd")).unwrap();
        fs::write(dead.join(ALIVE), "").unwrap();
        let killed_at_birth = directory.path().join("run/2-newborn");
        fs::create_dir_all(&killed_at_birth).unwrap();

        let next = RunDir::create(&cache).unwrap();

        assert!(living.path().join(ALIVE).exists());
        assert!(!dead.exists());
        assert!(!killed_at_birth.exists());
        let path = next.path().to_owned();
        drop(next);
        assert!(!path.exists());
    }
}
