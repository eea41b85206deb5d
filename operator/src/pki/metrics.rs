//! Keys and certificates of a tenant's metrics. They follow from the host authority's key and the time alone: made again they are the
//! same, byte for byte, so that nothing of them is kept, and nothing can be lost. That takes Ed25519 (RFC 8032), whose signatures
//! have no randomness in them.

use chrono::{DateTime, Utc};
use plan::keys::{Authority, METRICS_LIFETIME, METRICS_RENEWAL, MetricsKeys, Sensitive};
use plan::names;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SerialNumber,
};

use super::{PkiError, issue, moment, read_certificate, ssh};

const WHAT: &str = "certificate of metrics";

/// Which of the certificates that follow each other.
#[derive(Clone, Copy, Debug)]
pub enum Span {
    /// Those that begin last before this time.
    At(DateTime<Utc>),
    /// Those that end then.
    Until(DateTime<Utc>),
}

/// What the tenant with this id and this host authority serves and reads its metrics with.
pub fn metrics_keys(
    Authority { certificate, key, .. }: &Authority,
    tenant_id: &str,
    span: Span,
) -> Result<MetricsKeys, PkiError> {
    let host = read_certificate(certificate)?;
    let seed = |what: &str| -> [u8; 32] {
        let digest = names::digest(format!("tenancy.dev/metrics/v1\n{what}\n{}", key.0).as_bytes());
        let bytes = hex::decode(digest).expect("a digest is hexadecimal");
        bytes.try_into().expect("SHA-256 has 32 bytes")
    };
    let serial = |what: &str| SerialNumber::from_slice(&[&[1], &seed(&format!("serial of {what}"))[..15]].concat());

    let authority_key = ssh::key_pair(seed("authority"))?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name = named(&format!("metrics of {tenant_id}"));
    authority.serial_number = Some(serial("authority"));
    authority.not_before = moment(host.not_before)?;
    authority.not_after = moment(host.not_after)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let make = |source| PkiError::Make { what: WHAT, source };
    let authority = authority.self_signed(&authority_key).map_err(make)?.pem();
    let authority_key = authority_key.serialize_pem();

    // Everybody's spans begin at another time, since they begin with the authority. The last is the first that lasts as long as it.
    let renewal = METRICS_RENEWAL.num_seconds();
    let index = |time: DateTime<Utc>| (time - host.not_before).num_seconds().max(0) / renewal;
    let last = (host.not_after - METRICS_LIFETIME - host.not_before).num_seconds().max(0);
    let last = (last + renewal - 1) / renewal;
    let spans = match span {
        Span::At(time) => index(time).min(last),
        Span::Until(end) if end >= host.not_after => last,
        Span::Until(end) => index(end - METRICS_LIFETIME),
    };
    let begin = host.not_before + METRICS_RENEWAL * i32::try_from(spans).unwrap_or(i32::MAX);
    // Good since a span earlier, or as long as the authority is: clocks may be wrong.
    let not_before = (begin - METRICS_RENEWAL).max(host.not_before);
    let not_after = (begin + METRICS_LIFETIME).min(host.not_after);
    let leaf = |what: &str, names: Vec<String>, usage| -> Result<(String, KeyPair), PkiError> {
        let what = format!("{what} {spans}");
        let key = ssh::key_pair(seed(&what))?;
        let mut params = CertificateParams::new(names).map_err(make)?;
        params.distinguished_name = named(&format!("{what} of {tenant_id}"));
        params.serial_number = Some(serial(&what));
        params.not_before = moment(not_before)?;
        params.not_after = moment(not_after)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        Ok((issue(WHAT, &params, &key, &authority, &authority_key)?.pem(), key))
    };
    let server_name = format!("{tenant_id}.metrics.tenancy.dev");
    let (server_certificate, server_key) =
        leaf("server", vec![server_name.clone()], ExtendedKeyUsagePurpose::ServerAuth)?;
    let (scraper_certificate, scraper_key) = leaf("scraper", Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)?;
    Ok(MetricsKeys {
        authority,
        server_certificate,
        server_key: Sensitive(server_key.serialize_pem()),
        server_name,
        scraper_certificate,
        scraper_key: Sensitive(scraper_key.serialize_pem()),
        not_after,
    })
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::pki::{authorities, issued_by, key_matches};

    fn made() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).expect("in range")
    }

    #[test]
    fn they_are_the_same_whenever_they_are_made_until_they_are_renewed() {
        let host = authorities("acme.example.com", made()).expect("authorities").host;
        let of = |span| metrics_keys(&host, "0123456789abcdef", span).expect("keys");
        let at = |now| of(Span::At(now));
        let first = at(made());
        assert_eq!(at(made() + METRICS_RENEWAL - TimeDelta::hours(1)), first);
        let second = at(made() + METRICS_RENEWAL);
        assert_eq!((&second.authority, second.not_after), (&first.authority, first.not_after + METRICS_RENEWAL));
        assert_ne!(second.server_certificate, first.server_certificate);
        assert_ne!(second.server_key, first.server_key);
        assert_ne!(second.scraper_key, first.scraper_key);
        // A clock that is before the authority changes nothing either.
        assert_eq!(at(made() - TimeDelta::days(9)), first);
        // What pods say of theirs is enough to make it again.
        assert_eq!((of(Span::Until(first.not_after)), of(Span::Until(second.not_after))), (first, second));
        // There is one last one, which ends with the authority.
        let last = at(made() + TimeDelta::days(3400));
        assert_eq!(last.not_after, read_certificate(&host.certificate).expect("it is read").not_after);
        assert_eq!((at(made() + TimeDelta::days(3649)), of(Span::Until(last.not_after))), (last.clone(), last));
    }

    #[test]
    fn each_certificate_is_of_its_tenants_authority_and_names_what_it_is_for() {
        let of = |domain: &str, id: &str| {
            let host = authorities(domain, made()).expect("authorities").host;
            metrics_keys(&host, id, Span::At(made())).expect("keys")
        };
        let (own, other) = (of("a.example.com", "0123456789abcdef"), of("b.example.com", "fedcba9876543210"));
        for (certificate, key) in
            [(&own.server_certificate, &own.server_key), (&own.scraper_certificate, &own.scraper_key)]
        {
            assert!(
                issued_by(certificate, &own.authority).expect("read")
                    && key_matches(certificate, &key.0).expect("read")
            );
            assert!(!issued_by(certificate, &other.authority).expect("read"));
        }
        let names = read_certificate(&own.server_certificate).expect("read").names;
        assert_eq!(names, ["0123456789abcdef.metrics.tenancy.dev"]);
        assert_ne!(own.server_key, own.scraper_key);
    }
}
