//! Writes a volume so that a reader sees the old content or the new, never a mixture. The layout is a kubelet's: names
//! are links through `..data`, itself a link to a directory that is replaced as a whole.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path};

use super::payload::Files;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
const PREFIX: &str = "..";

/// Replaces the content of a volume.
pub(super) fn write(volume: &Path, files: &Files) -> io::Result<()> {
    let former = fs::read_link(volume.join(DATA)).ok();
    let content =
        tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o755)).tempdir_in(volume)?;
    for (name, file) in files {
        let path = content.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.content)?;
        // After writing: the mode may not let anybody write.
        fs::set_permissions(&path, Permissions::from_mode(file.mode))?;
    }
    let link = volume.join(NEW_DATA);
    remove(&link)?;
    let content = content.keep();
    symlink(content.file_name().expect("a directory in the volume has a name"), &link)?;
    fs::rename(&link, volume.join(DATA))?;
    let wanted: Vec<OsString> = files.keys().filter_map(|name| top(Path::new(name))).collect();
    for name in &wanted {
        let link = volume.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(volume)? {
        let entry = entry?;
        let name = entry.file_name();
        // Only links through the data are ours; a mount point of another volume may lie among them.
        let ours = fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(DATA));
        if ours && !wanted.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    match former {
        Some(former) => fs::remove_dir_all(volume.join(former)),
        None => Ok(()),
    }
}

fn top(path: &Path) -> Option<OsString> {
    match path.components().next()? {
        Component::Normal(name) => Some(name.to_owned()),
        _ => None,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn files(content: &[(&str, &str)]) -> Files {
        let file = |content: &str| File { content: content.into(), mode: 0o440 };
        content.iter().map(|(name, content)| ((*name).to_owned(), file(content))).collect()
    }

    fn names(volume: &Path) -> Vec<String> {
        let entries = fs::read_dir(volume).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.filter(|name| !name.starts_with(PREFIX)).collect();
        names.sort();
        names
    }

    #[test]
    fn content_is_replaced_as_a_whole() {
        let volume = tempfile::tempdir().unwrap();
        let path = volume.path();
        write(path, &files(&[("a", "1"), ("dir/b", "2")])).unwrap();
        assert_eq!(fs::read_to_string(path.join("dir/b")).unwrap(), "2");
        assert_eq!(fs::metadata(path.join("a")).unwrap().permissions().mode() & 0o777, 0o440);
        let opened = fs::canonicalize(path.join("a")).unwrap();
        write(path, &files(&[("a", "new"), ("c", "3")])).unwrap();
        assert_eq!(names(path), ["a", "c"]);
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "new");
        assert!(!opened.exists(), "the former content is gone");
        let directories =
            fs::read_dir(path).unwrap().filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir());
        assert_eq!(directories.count(), 1);
    }

    #[test]
    fn a_volume_may_become_empty() {
        let volume = tempfile::tempdir().unwrap();
        write(volume.path(), &files(&[("a", "1")])).unwrap();
        write(volume.path(), &Files::new()).unwrap();
        assert_eq!(names(volume.path()), [] as [&str; 0]);
    }

    #[test]
    fn a_mount_point_in_the_volume_stays() {
        let volume = tempfile::tempdir().unwrap();
        symlink("/somewhere", volume.path().join("mounted")).unwrap();
        write(volume.path(), &files(&[("a", "1")])).unwrap();
        assert_eq!(names(volume.path()), ["a", "mounted"]);
    }
}
