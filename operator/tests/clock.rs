//! Only the build of the tests has a clock that can be set. Whether this is that build is a choice of whoever runs the
//! tests, so both are judged: the one by what it must not have, the other by what it must say.

use std::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_tenant-operator");
const VARIABLE: &[u8] = b"TENANT_OPERATOR_TEST_CLOCK";

#[test]
fn the_name_of_the_clocks_file_is_in_no_other_build_than_that_of_the_tests() {
    let binary = std::fs::read(BINARY).expect("the operator is built");
    let known = binary.windows(VARIABLE.len()).any(|bytes| bytes == VARIABLE);
    assert_eq!(known, cfg!(feature = "test-clock"));
}

#[test]
fn a_test_build_says_so_in_its_version() {
    let output = Command::new(BINARY).arg("--version").output().expect("the operator runs");
    let version = String::from_utf8(output.stdout).expect("text");
    let shipped = concat!("tenant-operator ", env!("CARGO_PKG_VERSION"));
    let zones = format!("(time zones {})", plan::window::tz_version());
    if cfg!(feature = "test-clock") {
        assert_eq!(version.trim(), format!("{shipped} with a test clock, NOT FOR PRODUCTION {zones}"));
    } else {
        assert_eq!(version.trim(), format!("{shipped} {zones}"));
    }
}

#[test]
fn nothing_turns_the_test_clock_on_but_its_name() {
    let manifest = include_str!("../Cargo.toml");
    let features = manifest.split("[features]").nth(1).and_then(|rest| rest.split("\n[").next()).expect("features");
    let named: Vec<&str> =
        features.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split('=').next()).collect();
    assert_eq!(
        named.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect::<Vec<_>>(),
        ["test-clock"]
    );
    let library = include_str!("../src/clock.rs");
    assert!(library.contains("#[cfg(feature = \"test-clock\")]\nmod settable;"), "the module is in every build");
}
