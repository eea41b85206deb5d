//! How failures are sorted and printed. The class of an error alone picks the delay, the condition reason and the
//! metric label; what exactly failed is in the error itself.

use std::error::Error as StdError;
use std::time::Duration;

/// What kind of failure it is, which decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may work if tried again: lost connections, time-outs, servers that failed, resources still in motion.
    Transient,
    /// The other side asked for patience; the duration is its own word, when it gave one.
    Throttled(Option<Duration>),
    /// Somebody else changed the same thing: look again at once.
    Conflict,
    /// Not allowed: a person must grant something.
    Denied,
    /// Refused for what was asked: a person must change something.
    Invalid,
    /// The cluster does not take an object as the spec or the fleet policy wants it: a person must change one of them, or the cluster.
    Refused,
    /// Cannot happen unless this program is wrong.
    Bug,
}

impl Class {
    /// One word for metrics and condition reasons.
    pub fn label(self) -> &'static str {
        match self {
            Class::Transient => "Transient",
            Class::Throttled(_) => "Throttled",
            Class::Conflict => "Conflict",
            Class::Denied => "Denied",
            Class::Invalid => "Invalid",
            Class::Refused => "Refused",
            Class::Bug => "Bug",
        }
    }
}

/// Result of everything in this crate that can fail on the way of a reconcile.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong on the way of a reconcile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the API server failed.
    #[error("cannot {attempt}")]
    Kube {
        /// What was tried.
        attempt: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// A call to the cloud failed.
    #[error(transparent)]
    Cloud(#[from] crate::cloud::CloudError),
    /// Keys could not be made or read.
    #[error(transparent)]
    Pki(#[from] crate::pki::PkiError),
    /// The way to a web certificate is barred.
    #[error(transparent)]
    Acme(#[from] crate::acme::AcmeError),
    /// A process of the tenant did not answer as it should.
    #[error(transparent)]
    Teleport(#[from] crate::teleport::TeleportError),
    /// Somebody else was faster.
    #[error("cannot {attempt}: somebody else was faster")]
    Overtaken {
        /// What was tried.
        attempt: String,
    },
    /// An object that is not ours stands where ours should.
    #[error("cannot {attempt}: an object of that name belongs to somebody else")]
    Foreign {
        /// What was tried.
        attempt: String,
    },
    /// The API server does not take an object.
    #[error("cannot {attempt}: {answer}: {remedy}")]
    Refused {
        /// What was tried.
        attempt: String,
        /// What it says.
        answer: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Something that must be there for this step is not.
    #[error("cannot {attempt}: {missing}")]
    Missing {
        /// What was tried.
        attempt: String,
        /// What is missing.
        missing: String,
    },
    /// The lead is lost or cannot be shown to be held.
    #[error("cannot {attempt}: this process does not lead")]
    NotLeading {
        /// What was tried.
        attempt: String,
    },
    /// An object that does not parse.
    #[error("cannot {attempt}: {fault}")]
    Unreadable {
        /// What was tried.
        attempt: String,
        /// What is wrong with it.
        fault: String,
    },
    /// It took too long.
    #[error("cannot {attempt} within {seconds} s")]
    Timeout {
        /// What was tried.
        attempt: String,
        /// The bound.
        seconds: u64,
    },
}

impl Error {
    /// A failed call to the API server.
    pub fn kube(attempt: impl Into<String>, source: kube::Error) -> Error {
        Error::Kube { attempt: attempt.into(), source: Box::new(source) }
    }

    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        match self {
            Error::Kube { source, .. } => class_of(source),
            Error::Cloud(error) => error.class(),
            Error::Pki(error) => error.class(),
            Error::Acme(error) => error.class(),
            Error::Teleport(error) => error.class(),
            Error::Unreadable { .. } => Class::Invalid,
            Error::Refused { .. } => Class::Refused,
            Error::Overtaken { .. } | Error::Foreign { .. } => Class::Conflict,
            Error::Missing { .. } | Error::Timeout { .. } | Error::NotLeading { .. } => Class::Transient,
        }
    }
}

fn class_of(error: &kube::Error) -> Class {
    match error {
        kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Class::Conflict,
        kube::Error::Api(status) if status.is_forbidden() || status.code == 401 => Class::Denied,
        kube::Error::Api(status) if status.is_invalid() || status.code == 400 => Class::Invalid,
        kube::Error::Api(status) if status.code == 429 => Class::Throttled(None),
        _ => Class::Transient,
    }
}

/// The error and its causes in one line, outermost first. A cause whose text the line already holds is left out:
/// some libraries repeat it in their own text.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !text.is_empty() && !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (first, rest) = texts.split_first().expect("at least one layer");
        Layer { text: first, source: (!rest.is_empty()).then(|| Box::new(layers(rest))) }
    }

    #[test]
    fn a_chain_reads_from_the_attempt_to_the_cause() {
        assert_eq!(chain(&layers(&["cannot create table t", "io", "refused"])), "cannot create table t: io: refused");
    }

    #[test]
    fn a_cause_that_was_already_said_is_not_repeated() {
        assert_eq!(chain(&layers(&["ping: refused", "refused"])), "ping: refused");
    }
}
