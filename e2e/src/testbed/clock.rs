//! The clock by which the operator decides. It is set by a file that its test build reads; real time, by which
//! certificates and leases are judged, stays what it is.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};

/// The variable that names the file to the operator.
pub(super) const VARIABLE: &str = "TENANT_OPERATOR_TEST_CLOCK";

/// The operator's clock. It goes on from wherever it is set to.
#[derive(Clone, Debug)]
pub struct Clock {
    file: PathBuf,
    operator: PathBuf,
}

impl Clock {
    pub(super) fn new(file: PathBuf, operator: PathBuf) -> Clock {
        Clock { file, operator }
    }

    /// Where the operator looks.
    pub(super) fn file(&self) -> &std::path::Path {
        &self.file
    }

    /// What the operator takes for now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn now(&self) -> anyhow::Result<DateTime<Utc>> {
        Ok(Utc::now() + self.read()?.0)
    }

    /// Moves the operator's time on, or back. It looks at everything again at once; what it decides after this call it
    /// decides by the new time.
    ///
    /// # Errors
    /// When the operator has no such clock, or the file cannot be written.
    pub async fn advance(&self, by: TimeDelta) -> anyhow::Result<DateTime<Utc>> {
        let (offset, skew) = self.read()?;
        self.write(offset + by, skew).await
    }

    /// Sets the operator's time, up to a second later: at the start of a window it is open.
    ///
    /// # Errors
    /// When the operator has no such clock, or the file cannot be written.
    pub async fn set(&self, to: DateTime<Utc>) -> anyhow::Result<DateTime<Utc>> {
        let (_, skew) = self.read()?;
        let milliseconds = (to - Utc::now()).num_milliseconds();
        self.write(TimeDelta::seconds((milliseconds + 999).div_euclid(1000)), skew).await
    }

    /// Makes the operator believe that its machine's clock is ahead of the API server's by so much.
    ///
    /// # Errors
    /// When the operator has no such clock, or the file cannot be written.
    pub async fn pretend_skew(&self, ahead: TimeDelta) -> anyhow::Result<()> {
        let (offset, _) = self.read()?;
        self.write(offset, ahead).await.map(drop)
    }

    async fn write(&self, offset: TimeDelta, skew: TimeDelta) -> anyhow::Result<DateTime<Utc>> {
        self.can_be_set().await?;
        // Whoever reads it finds all of the old or all of the new.
        let next = self.file.with_extension("next");
        let text = format!("{} {}\n", offset.num_seconds(), skew.num_seconds());
        std::fs::write(&next, text).with_context(|| format!("cannot write {}", next.display()))?;
        std::fs::rename(&next, &self.file).with_context(|| format!("cannot write {}", self.file.display()))?;
        self.now()
    }

    /// An operator that was built for use would go on by the real time, and a test would wait for nothing.
    async fn can_be_set(&self) -> anyhow::Result<()> {
        let output = tokio::process::Command::new(&self.operator)
            .arg("--version")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.operator.display()))?;
        let version = String::from_utf8_lossy(&output.stdout);
        ensure!(
            version.contains("test clock"),
            "the clock of {} cannot be set: build it with `--features operator/test-clock` ({})",
            self.operator.display(),
            version.trim()
        );
        Ok(())
    }

    fn read(&self) -> anyhow::Result<(TimeDelta, TimeDelta)> {
        let text =
            std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let mut numbers = text.split_whitespace().map(|number| number.parse().map(TimeDelta::seconds));
        let mut next = || numbers.next().unwrap_or(Ok(TimeDelta::zero())).context("the clock's file is spoilt");
        Ok((next()?, next()?))
    }
}

/// A clock without a test bed, whose operator says this of itself.
#[cfg(test)]
pub(crate) fn pretended_clock(directory: &std::path::Path, version: &str) -> Clock {
    use std::os::unix::fs::PermissionsExt as _;
    let operator = directory.join("operator");
    std::fs::write(&operator, format!("#!/bin/sh\necho tenant-operator 0.1.0 {version}\n")).unwrap();
    std::fs::set_permissions(&operator, std::fs::Permissions::from_mode(0o700)).unwrap();
    let file = directory.join("clock");
    std::fs::write(&file, "0 0\n").unwrap();
    Clock::new(file, operator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn moves_add_up_and_leave_the_skew_alone() {
        let directory = tempfile::tempdir().unwrap();
        let clock = pretended_clock(directory.path(), "with a test clock");
        clock.pretend_skew(TimeDelta::seconds(31)).await.unwrap();
        clock.advance(TimeDelta::hours(8)).await.unwrap();
        clock.advance(TimeDelta::minutes(-1)).await.unwrap();
        assert_eq!(std::fs::read_to_string(clock.file()).unwrap(), "28740 31\n");
        let sunday = "2026-11-29T02:00:00Z".parse().unwrap();
        let told = clock.set(sunday).await.unwrap();
        assert!(told >= sunday && told <= sunday + TimeDelta::seconds(10), "{told}");
    }

    #[tokio::test]
    async fn an_operator_without_such_a_clock_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let clock = pretended_clock(directory.path(), "");
        let refused = clock.advance(TimeDelta::hours(1)).await.unwrap_err().to_string();
        assert!(refused.contains("--features operator/test-clock"), "{refused}");
    }
}
