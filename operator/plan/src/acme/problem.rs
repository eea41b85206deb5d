//! What an ACME server answers when it refuses, sorted by what mends it (RFC 8555, section 6.7; RFC 9773, section 5).

use chrono::{DateTime, Utc};

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person must change something: a record, the policy, the account.
    Person,
    /// Time alone mends it; until then, where the server says so.
    Wait(Option<DateTime<Utc>>),
    /// It may work if tried again.
    Again,
    /// The certificate was replaced by another order already: order without saying what is replaced.
    Replaced,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind it is.
    pub kind: Kind,
    /// For people.
    pub text: String,
}

/// Prefix of all types of RFC 8555.
const PREFIX: &str = "urn:ietf:params:acme:error:";

/// The type of a problem document, without that prefix.
pub fn word(type_: Option<&str>) -> &str {
    let type_ = type_.unwrap_or_default();
    type_.strip_prefix(PREFIX).unwrap_or(type_)
}

/// Sorts a problem document by its type; `until` is what the header Retry-After says.
pub fn kind(type_: Option<&str>, until: Option<DateTime<Utc>>) -> Kind {
    match word(type_) {
        // The record is missing, wrong, or not what the server sees; the domain or its CAA records forbid it; the account or
        // its binding is refused.
        "accountDoesNotExist"
        | "badPublicKey"
        | "caa"
        | "dns"
        | "externalAccountRequired"
        | "incorrectResponse"
        | "invalidContact"
        | "invalidProfile"
        | "rejectedIdentifier"
        | "unauthorized"
        | "unsupportedContact"
        | "unsupportedIdentifier"
        | "userActionRequired" => Kind::Person,
        "rateLimited" => Kind::Wait(until),
        "alreadyReplaced" => Kind::Replaced,
        // badNonce, connection, malformed, orderNotReady, serverInternal, tls, and whatever servers invent: trying again is what
        // is left, more and more rarely.
        _ => until.map_or(Kind::Again, |until| Kind::Wait(Some(until))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_sorted_by_what_mends_it() {
        let until = DateTime::from_timestamp(1_800_000_000, 0);
        let of = |type_: &str| kind(Some(&format!("{PREFIX}{type_}")), None);
        for person in ["caa", "dns", "unauthorized", "rejectedIdentifier", "externalAccountRequired"] {
            assert_eq!(of(person), Kind::Person, "{person}");
        }
        for again in ["badNonce", "serverInternal", "connection", "orderNotReady", "somethingNew"] {
            assert_eq!(of(again), Kind::Again, "{again}");
        }
        assert_eq!(kind(Some("urn:ietf:params:acme:error:rateLimited"), until), Kind::Wait(until));
        assert_eq!(kind(Some("urn:ietf:params:acme:error:serverInternal"), until), Kind::Wait(until));
        assert_eq!(of("rateLimited"), Kind::Wait(None));
        assert_eq!(of("alreadyReplaced"), Kind::Replaced);
    }
}
