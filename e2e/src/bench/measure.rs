//! What the operator asked for and used since a moment: of the API server and of AWS, as their logs have it, and of the
//! machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::testbed::{OPERATOR_ROLE, TestBed, Write, operator_binary, request};

/// The kernel's unit of CPU time is a hundredth of a second on every Linux that can run this.
const TICKS: u64 = 100;

/// A moment, by how far the logs were.
#[derive(Clone, Debug)]
pub struct Mark {
    audit: u64,
    aws: u64,
    used: BTreeMap<PathBuf, Used>,
}

/// What a process has used since its start.
#[derive(Clone, Copy, Debug)]
struct Used {
    cpu: Duration,
    peak: u64,
}

/// What happened since.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// Writes of the operator, by verb and resource; its leader lease apart.
    pub writes: BTreeMap<String, usize>,
    /// The same of what it read, watches apart.
    pub reads: BTreeMap<String, usize>,
    /// Calls of the operator to AWS, by operation.
    pub aws: BTreeMap<String, usize>,
    /// Time that its processes computed; that of one that has ended meanwhile is lost.
    pub cpu: Duration,
    /// Processes that have ended meanwhile.
    pub ended: usize,
    /// The most memory that one of its processes ever had, in bytes.
    pub memory: u64,
}

impl Mark {
    /// Now.
    ///
    /// # Errors
    /// When a log cannot be looked at.
    pub fn now(bed: &TestBed) -> anyhow::Result<Mark> {
        let size = |path: &Path| {
            let found = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
            anyhow::Ok(found.len())
        };
        Ok(Mark { audit: size(audit_log(bed)?)?, aws: size(bed.control_plane().aws().calls())?, used: used(bed)? })
    }

    /// What happened since then.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn spent(&self, bed: &TestBed) -> anyhow::Result<Spent> {
        let used = used(bed)?;
        let before = |process| self.used.get(process).map_or(Duration::ZERO, |used| used.cpu);
        let mut spent = Spent {
            cpu: used.iter().map(|(process, now)| now.cpu.saturating_sub(before(process))).sum(),
            ended: self.used.keys().filter(|process| !used.contains_key(*process)).count(),
            memory: used.values().map(|used| used.peak).max().unwrap_or_default(),
            ..Spent::default()
        };
        each_line(audit_log(bed)?, self.audit, |line| {
            let Some(request) = request(line).filter(|request| request.verb != "watch") else { return };
            let into = if request.is_write() { &mut spent.writes } else { &mut spent.reads };
            let Write { verb, resource, .. } = request;
            *into.entry(format!("{verb} {resource}")).or_default() += 1;
        })?;
        spent.aws = count(bed, OPERATOR_ROLE, self.aws)?;
        Ok(spent)
    }
}

/// Calls of sessions of a role to AWS since the test bed was started, by operation.
///
/// # Errors
/// When the log cannot be read.
pub fn calls_of(bed: &TestBed, role: &str) -> anyhow::Result<BTreeMap<String, usize>> {
    count(bed, role, 0)
}

fn count(bed: &TestBed, role: &str, from: u64) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    each_call(bed, role, from, |call| {
        *counts.entry(call["operation"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    })?;
    Ok(counts)
}

/// Tells each call of a session of this role to AWS, as the emulator's log has it from this byte on.
pub(super) fn each_call(bed: &TestBed, role: &str, from: u64, mut tell: impl FnMut(Value)) -> anyhow::Result<()> {
    let session = format!("assumed-role/{role}/");
    each_line(bed.control_plane().aws().calls(), from, |line| {
        // Its last line may be half written.
        let Ok(call) = serde_json::from_str::<Value>(line) else { return };
        if call["principal_arn"].as_str().is_some_and(|arn| arn.contains(&session)) {
            tell(call);
        }
    })
}

/// The sum of counts.
pub fn total(counts: &BTreeMap<String, usize>) -> usize {
    counts.values().sum()
}

/// Counts divided by a number of things, the largest first.
pub fn each(counts: &BTreeMap<String, usize>, things: usize) -> Vec<(String, f64)> {
    let mut each: Vec<(String, f64)> =
        counts.iter().map(|(what, count)| (what.clone(), *count as f64 / things.max(1) as f64)).collect();
    each.sort_by(|one, other| other.1.total_cmp(&one.1));
    each
}

fn audit_log(bed: &TestBed) -> anyhow::Result<&Path> {
    bed.control_plane().audit_log().context("this cluster has no audit log")
}

/// Every whole line from an offset on.
fn each_line(path: &Path, from: u64, mut tell: impl FnMut(&str)) -> anyhow::Result<()> {
    let reading = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    file.seek(SeekFrom::Start(from)).with_context(reading)?;
    for line in BufReader::new(file).lines() {
        tell(&line.with_context(reading)?);
    }
    Ok(())
}

/// What each of the operator's processes has used.
fn used(bed: &TestBed) -> anyhow::Result<BTreeMap<PathBuf, Used>> {
    let run = bed.control_plane().run_dir().path();
    let mut all = BTreeMap::new();
    for process in processes(run, &operator_binary()?).context("cannot look for the operator's processes")? {
        // One that ends meanwhile is none any more.
        let (Ok(stat), Ok(status)) =
            (fs::read_to_string(process.join("stat")), fs::read_to_string(process.join("status")))
        else {
            continue;
        };
        let used = cpu_of(&stat).zip(peak_of(&status)).map(|(cpu, peak)| Used { cpu, peak });
        all.extend(used.map(|used| (process, used)));
    }
    anyhow::ensure!(!all.is_empty(), "the operator's processes are not found: what they use cannot be told");
    Ok(all)
}

/// The operator's processes of a run: its pods have their files below its directory, and work there. Of the name of a
/// program Linux tells the first fifteen bytes (proc(5), `comm`).
fn processes(run: &Path, operator: &Path) -> std::io::Result<Vec<PathBuf>> {
    let name = operator.file_name().unwrap_or_default().as_encoded_bytes();
    let name = &name[..name.len().min(15)];
    let ours = |process: &Path| {
        let named = fs::read(process.join("comm")).is_ok_and(|comm| comm.trim_ascii_end() == name);
        named && fs::read_link(process.join("cwd")).is_ok_and(|directory| directory.starts_with(run))
    };
    let all = fs::read_dir("/proc")?.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(all.filter(|process| ours(process)).collect())
}

/// User and system time, fields 14 and 15; the name in the second may contain anything but ends with the last bracket.
fn cpu_of(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read_as_the_kernel_writes_them() {
        let stat = "71 (a ) b) S 1 71 71 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 4 0 9 1 1";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(3)));
        assert_eq!(peak_of("Name:\ta\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n"), Some(2048 * 1024));
        let own = fs::read_to_string("/proc/self/stat").expect("Linux");
        assert!(cpu_of(&own).is_some(), "{own}");
    }

    #[test]
    fn only_lines_after_the_mark_count() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("log");
        fs::write(&file, "one\ntwo\nthree\n").expect("written");
        let mut seen = Vec::new();
        each_line(&file, 4, |line| seen.push(line.to_owned())).expect("read");
        assert_eq!(seen, ["two", "three"]);
    }
}
