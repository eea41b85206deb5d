//! A container's log: one file for all its restarts, written line by line.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const TAIL_BYTES: usize = 2048;
const TAIL_LINES: usize = 80;

/// An open log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Mutex<File>,
}

impl Log {
    pub(super) fn open(path: PathBuf) -> io::Result<Log> {
        let file = File::options().create(true).append(true).open(&path)?;
        Ok(Log { path, file: Mutex::new(file) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last lines, as much as a kubelet puts into a status.
    pub(super) fn tail(&self) -> String {
        let text = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL_BYTES)..]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Appends a line. A log that cannot be written must not stop the process that writes it.
    pub(super) fn line(&self, line: &str) {
        let mut text = String::with_capacity(line.len() + 1);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push('\n');
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(text.as_bytes()) {
            tracing::warn!(path = %self.path.display(), %error, "cannot write a container's log");
        }
    }
}
