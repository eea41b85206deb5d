//! The clock of the tests' build: real time plus what a file says. A file, since it can be changed while the process runs
//! and is the same for a second operator and for one that comes after a crash.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::sync::LazyLock;
use std::time::Duration;

use chrono::TimeDelta;
use futures::{Stream, stream};

use super::Setting;

pub(super) const SETTABLE: bool = true;
pub(super) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " with a test clock, NOT FOR PRODUCTION");

/// Names the file: the offset in seconds and, if any, the skew to pretend in seconds, both signed. No file = no offset.
const VARIABLE: &str = "TENANT_OPERATOR_TEST_CLOCK";
/// How soon a change is noticed; what asks for the time has it at once.
const LOOK: Duration = Duration::from_millis(100);

static FILE: LazyLock<Option<OsString>> = LazyLock::new(|| std::env::var_os(VARIABLE));

/// Reads the file each time: it is tiny, and nobody is to decide by a time that was set anew before.
pub(super) fn read() -> Setting {
    let Some(file) = FILE.as_ref() else { return Setting::default() };
    match std::fs::read_to_string(file) {
        Ok(text) => parse(&text).unwrap_or_else(|| panic!("{VARIABLE}: {text:?} is not `seconds [seconds]`")),
        Err(error) if error.kind() == ErrorKind::NotFound => Setting::default(),
        Err(error) => panic!("{VARIABLE}: cannot read {}: {error}", file.display()),
    }
}

pub(super) fn settings() -> impl Stream<Item = Setting> + Send {
    let state = (tokio::time::interval(LOOK), read());
    stream::unfold(state, |(mut interval, last)| async move {
        loop {
            interval.tick().await;
            let setting = read();
            if setting != last {
                return Some((setting, (interval, setting)));
            }
        }
    })
}

fn parse(text: &str) -> Option<Setting> {
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok().and_then(TimeDelta::try_seconds));
    let offset = numbers.next()??;
    let skew = numbers.next().unwrap_or(Some(TimeDelta::zero()))?;
    numbers.next().is_none().then_some(Setting { offset, skew })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_one_number_of_seconds_or_two() {
        let seconds =
            |offset, skew| Some(Setting { offset: TimeDelta::seconds(offset), skew: TimeDelta::seconds(skew) });
        assert_eq!(parse("28800\n"), seconds(28800, 0));
        assert_eq!(parse("-60 31"), seconds(-60, 31));
        for wrong in ["", "8h", "1 2 3", "1 x", "9223372036854775807"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
