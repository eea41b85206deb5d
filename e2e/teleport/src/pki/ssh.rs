//! The public half of an SSH key: its `authorized_keys` line, made from a private key so that the two can be compared.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// `ssh-ed25519 AAAA…` of a key pair; `None` for an algorithm that SSH authorities do not use.
pub(crate) fn authorized_key(key: &KeyPair) -> Option<String> {
    use rcgen::PublicKeyData;
    let info = key.subject_public_key_info();
    let (_, info) = SubjectPublicKeyInfo::from_der(&info).ok()?;
    let raw = info.subject_public_key.data.as_ref();
    let (name, blob) = if *key.algorithm() == rcgen::PKCS_ED25519 {
        ("ssh-ed25519", [string(b"ssh-ed25519"), string(raw)].concat())
    } else if *key.algorithm() == rcgen::PKCS_ECDSA_P256_SHA256 {
        let name = "ecdsa-sha2-nistp256";
        (name, [string(name.as_bytes()), string(b"nistp256"), string(raw)].concat())
    } else if let Ok(PublicKey::RSA(rsa)) = info.parsed() {
        ("ssh-rsa", [string(b"ssh-rsa"), integer(rsa.exponent), integer(rsa.modulus)].concat())
    } else {
        return None;
    };
    Some(format!("{name} {}", STANDARD.encode(blob)))
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("keys are far below 4 GiB");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A positive integer: shortest form, with a zero byte before a set top bit.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    match digits.first() {
        Some(first) if *first >= 0x80 => string(&[&[0], digits].concat()),
        _ => string(digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ed25519_line_carries_the_32_bytes() {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let line = authorized_key(&key).unwrap();
        let (name, blob) = line.split_once(' ').unwrap();
        let blob = STANDARD.decode(blob).unwrap();
        assert_eq!(name, "ssh-ed25519");
        assert_eq!(&blob[blob.len() - 32..], key.public_key_raw());
        assert_eq!(blob.len(), 4 + 11 + 4 + 32);
    }

    #[test]
    fn an_integer_with_its_top_bit_set_gets_a_zero_byte() {
        assert_eq!(integer(&[0, 0x80]), [0, 0, 0, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0x7f]), [0, 0, 0, 1, 0x7f]);
    }
}
