//! Ed25519 keys as SSH wants them: an authorized_keys line, and the private key in the oldest form of PKCS#8.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plan::keys::Sensitive;
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::{PkiError, random};

/// The name of the key type in the SSH wire format (RFC 8709).
const KEY_TYPE: &str = "ssh-ed25519";
/// What comes before the 32 bytes of the key in its PKCS#8 form (RFC 8410, version 1). The library would write
/// version 2, which carries the public key as well and which OpenSSL and older readers refuse.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A new pair.
pub(super) struct Pair {
    pub public: String,
    pub key: Sensitive,
}

/// Makes a pair.
pub(super) fn generate() -> Result<Pair, PkiError> {
    let key = key_pair(random()?)?;
    Ok(Pair { public: authorized_key(key.public_key_raw()), key: Sensitive(key.serialize_pem()) })
}

/// The pair whose private key is these bytes.
pub(super) fn key_pair(key: [u8; 32]) -> Result<KeyPair, PkiError> {
    let pkcs8 = [PKCS8_PREFIX.as_slice(), &key].concat();
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &PKCS_ED25519)
        .map_err(|source| PkiError::Make { what: "Ed25519 key", source })
}

/// The public key as a line without a comment.
fn authorized_key(public: &[u8]) -> String {
    let mut wire = Vec::new();
    for part in [KEY_TYPE.as_bytes(), public] {
        let length = u32::try_from(part.len()).expect("a key of some dozen bytes");
        wire.extend(length.to_be_bytes());
        wire.extend(part);
    }
    format!("{KEY_TYPE} {}", STANDARD.encode(wire))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_one_that_openssh_writes() {
        // RFC 8032, 7.1, test 1: the public key of a published pair.
        let public = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").expect("hex");
        let line = authorized_key(&public);
        assert_eq!(line, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea");
    }
}
