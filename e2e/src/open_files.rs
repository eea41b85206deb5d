//! How many files this process may have open. A tenant with a port block has some twenty-five of them here: the listeners of
//! its Services, of its processes, and the connections between them all are in this one process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Enough for some thousand tenants; what Linux allows at most, unless told otherwise, is four times that.
const WANTED: u64 = 262_144;

/// Raises the limit as far as this user may, which children then have as well. A small test bed works with any limit.
pub fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft >= WANTED {
        return;
    }
    if setrlimit(Resource::RLIMIT_NOFILE, WANTED, WANTED.max(hard)).is_err() {
        // Not root: up to what it has been given.
        let _as_it_is = setrlimit(Resource::RLIMIT_NOFILE, hard.min(WANTED), hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_not_lower_than_it_was() {
        let before = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit").0;
        raise();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        assert!(soft >= before && (soft >= WANTED || soft == hard), "{before} became {soft} of {hard}");
    }
}
