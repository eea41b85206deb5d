//! What pods find in their file system: the directories, which the configuration refers to, and the volumes behind them.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, KeyToPath, ProjectedVolumeSource, SecretVolumeSource, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};

/// `teleport.yaml`.
pub const CONFIG: &str = "/etc/teleport";
/// Start-up resources of Auth.
pub const STARTUP: &str = "/etc/teleport-startup";
/// The licence.
pub const LICENSE: &str = "/var/lib/license";
/// The token that AWS exchanges for credentials.
pub const AWS_TOKEN: &str = "/var/run/secrets/tenancy.dev/aws";
/// The web certificate.
pub const TLS: &str = "/etc/teleport-tls";
/// The issuer of the web certificate.
pub const TRUST: &str = "/etc/teleport-tls-ca";
/// What metrics are served with.
pub const METRICS: &str = "/etc/teleport-metrics";
/// The authority of that alone: directories of trust are read whole.
pub const METRICS_TRUST: &str = "/etc/teleport-metrics-ca";
/// The join token.
pub const JOIN: &str = "/etc/teleport-join";

/// The token that AWS exchanges for credentials of the tenant's role.
pub fn aws_token() -> Volume {
    Volume {
        name: "aws-token".into(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some("sts.amazonaws.com".into()),
                    expiration_seconds: Some(3600),
                    path: "token".into(),
                    ..ServiceAccountTokenProjection::default()
                }),
                ..VolumeProjection::default()
            }]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The ConfigMap with a `teleport.yaml`, as a volume.
pub fn config(volume: &str, name: &str) -> Volume {
    Volume {
        name: volume.into(),
        config_map: Some(ConfigMapVolumeSource { name: name.into(), ..ConfigMapVolumeSource::default() }),
        ..Volume::default()
    }
}

/// A Secret, or some keys of it, as a volume.
pub fn secret(volume: &str, secret: &str, items: Option<Vec<KeyToPath>>) -> Volume {
    Volume {
        name: volume.into(),
        secret: Some(SecretVolumeSource { secret_name: Some(secret.into()), items, ..SecretVolumeSource::default() }),
        ..Volume::default()
    }
}

/// What metrics are served with, and where its authority is found: the volumes with their directories.
pub fn metrics(name: &str) -> [(Volume, String); 2] {
    let authority = Some(vec![item("ca.crt", "ca.pem")]);
    [
        (secret("metrics", name, None), METRICS.to_owned()),
        (secret("metrics-ca", name, authority), METRICS_TRUST.to_owned()),
    ]
}

/// One key of a Secret as a file.
pub fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.into(), path: path.into(), ..KeyToPath::default() }
}
