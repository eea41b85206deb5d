//! A container's file system: an empty directory with the pod's volumes linked in. It is made anew for each start, so
//! that nothing but volumes outlives a container. Nothing enforces read-only mounts.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::environment::{Environment, expand};
use super::volumes;

/// Makes the root of a container. `volatile` are the volumes that containers write.
pub(super) fn make(
    root: &Path,
    pod_directory: &Path,
    container: &Container,
    env: &Environment,
    volatile: &[String],
) -> io::Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(root.join("tmp"))?,
    }
    let mut mounts: Vec<&VolumeMount> = container.volume_mounts.iter().flatten().collect();
    // An outer mount first, so that an inner one lands in it.
    mounts.sort_by_key(|mount| relative(&mount.mount_path).components().count());
    for mount in mounts {
        let target = root.join(relative(&mount.mount_path));
        let volume = volumes::path(pod_directory, &mount.name);
        let sub_path = match &mount.sub_path_expr {
            Some(template) => Some(expand(template, |name| env.get(name).cloned())),
            None => mount.sub_path.clone().filter(|path| !path.is_empty()),
        };
        clear(&target)?;
        match sub_path.map(|path| volume.join(relative(&path))) {
            None => symlink(&volume, &target)?,
            Some(source) if volatile.contains(&mount.name) => {
                if !source.exists() {
                    fs::create_dir_all(&source)?;
                }
                symlink(&source, &target)?;
            }
            // A mount of a part of a Secret or ConfigMap never changes: it is of the file that was there, not its name.
            Some(source) => copy(&source, &target)?,
        }
    }
    Ok(())
}

/// A path of the container below its root; `..` goes nowhere.
pub(super) fn relative(path: &str) -> PathBuf {
    Path::new(path).components().filter(|component| matches!(component, Component::Normal(_))).collect()
}

/// Makes room for a mount: the parents exist, the mount point itself does not.
fn clear(target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        // In a writable volume a mount point outlives the container.
        Ok(metadata) if metadata.is_symlink() || metadata.is_file() => fs::remove_file(target),
        // A real mount would hide what is in it; to delete that would be worse than to fail.
        Ok(_) => fs::remove_dir(target),
    }
}

fn copy(source: &Path, target: &Path) -> io::Result<()> {
    if fs::metadata(source)?.is_dir() {
        fs::create_dir_all(target)?;
        for entry in fs::read_dir(source)? {
            let name = entry?.file_name();
            copy(&source.join(&name), &target.join(&name))?;
        }
        Ok(())
    } else {
        fs::copy(source, target).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct Bed {
        directory: tempfile::TempDir,
        root: PathBuf,
    }

    impl Bed {
        /// A pod with a read-only volume `config` (file `a`, directory `d`) and a writable volume `data`.
        fn new() -> Bed {
            let directory = tempfile::tempdir().unwrap();
            let config = volumes::path(directory.path(), "config");
            fs::create_dir_all(config.join("d")).unwrap();
            fs::create_dir_all(volumes::path(directory.path(), "data")).unwrap();
            fs::write(config.join("a"), "1").unwrap();
            fs::write(config.join("d/b"), "2").unwrap();
            let root = directory.path().join("root");
            Bed { directory, root }
        }

        fn make(&self, mounts: Value) {
            let container = serde_json::from_value(json!({"name": "c", "volumeMounts": mounts})).unwrap();
            let env = Environment::from([("POD".into(), "p-0".into())]);
            make(&self.root, self.directory.path(), &container, &env, &["data".into()]).unwrap();
        }

        fn volume(&self, path: &str) -> PathBuf {
            self.directory.path().join("volumes").join(path)
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.root.join(path)).unwrap()
        }
    }

    #[test]
    fn a_mounted_volume_is_seen_as_it_changes() {
        let bed = Bed::new();
        bed.make(json!([{"name": "config", "mountPath": "/etc/teleport"}]));
        assert_eq!(bed.read("etc/teleport/a"), "1");
        fs::write(bed.volume("config/a"), "new").unwrap();
        assert_eq!(bed.read("etc/teleport/a"), "new");
    }

    #[test]
    fn a_part_of_a_volume_stays_what_it_was() {
        let bed = Bed::new();
        bed.make(json!([
            {"name": "config", "mountPath": "/etc/one", "subPath": "a"},
            {"name": "config", "mountPath": "/etc/many", "subPath": "d"},
        ]));
        fs::write(bed.volume("config/a"), "new").unwrap();
        assert_eq!(bed.read("etc/one"), "1");
        assert_eq!(bed.read("etc/many/b"), "2");
    }

    #[test]
    fn only_volumes_survive_a_restart() {
        let bed = Bed::new();
        let mounts = json!([
            {"name": "data", "mountPath": "/var/lib/teleport"},
            {"name": "config", "mountPath": "/var/lib/teleport/license", "readOnly": true},
            {"name": "data", "mountPath": "/scratch", "subPathExpr": "logs/$(POD)"},
        ]);
        bed.make(mounts.clone());
        fs::write(bed.root.join("var/lib/teleport/host_uuid"), "u").unwrap();
        fs::write(bed.root.join("tmp/cache"), "x").unwrap();
        fs::write(bed.root.join("scratch/log"), "l").unwrap();
        bed.make(mounts);
        assert_eq!(bed.read("var/lib/teleport/host_uuid"), "u");
        assert_eq!(bed.read("var/lib/teleport/license/a"), "1");
        assert_eq!(fs::read_to_string(bed.volume("data/logs/p-0/log")).unwrap(), "l");
        assert!(!bed.root.join("tmp/cache").exists());
    }

    #[test]
    fn the_volumes_survive_the_root() {
        let bed = Bed::new();
        bed.make(json!([{"name": "config", "mountPath": "/etc/teleport"}]));
        fs::remove_dir_all(&bed.root).unwrap();
        assert!(bed.volume("config/a").exists());
    }
}
