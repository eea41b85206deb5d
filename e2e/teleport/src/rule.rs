//! The one list of what the stand-in refuses, as real Teleport does. Each rule has a test that breaks exactly one thing.
//! What a refusal leads to (exit, TLS alert, gRPC status, never ready) is decided where it is raised.

use std::fmt;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)+) => {
        /// Why something is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$doc])* #[doc = $text] $name,)+ }

        impl Rule {
            /// All rules.
            pub const ALL: &[Rule] = &[$(Rule::$name,)+];

            /// Name of the rule, as in the README.
            pub fn name(self) -> &'static str {
                match self { $(Rule::$name => stringify!($name),)+ }
            }

            /// What the log says.
            pub fn text(self) -> &'static str {
                match self { $(Rule::$name => $text,)+ }
            }
        }
    };
}

rules! {
    // Command line and image.
    UnknownCommand => "unknown command or flag",
    ImageTag => "the image tag is not a Teleport version",
    FipsBuild => "--fips needs a FIPS image",

    // teleport.yaml, as `teleport configure --test` also sees it.
    ConfigMissing => "failed to read the configuration file",
    UnknownKey => "failed parsing the configuration: unknown key",
    DuplicateKey => "failed parsing the configuration: duplicate key",
    WrongType => "failed parsing the configuration: wrong type",
    KeyNotInMajor => "failed parsing the configuration: key unknown in this major",
    ListenerMode => "proxy_listener_mode must be separate or multiplex",
    SshAlgorithm => "unsupported SSH algorithm",

    // teleport.yaml, as only `teleport start` sees it.
    ConfigVersion => "unsupported version of the configuration",
    AuthServersInV3 => "auth_servers is not allowed in v3, use auth_server",
    TwoServerAddresses => "only one of auth_server and proxy_server may be set",
    ServerAddressMissing => "auth_server is missing",
    NothingEnabled => "supply at least one of the auth and proxy services",
    UnsupportedService => "only auth_service or proxy_service may be enabled, and only one of them",
    BadAddress => "not an address",
    CannotListen => "cannot listen",
    PublicAddrWithoutListener => "a public address needs its listener",
    SecondFactorBoth => "second_factor and second_factors are both set",
    SecondFactorOff => "second factor off and optional are no longer supported",
    SecondFactorUnknown => "unknown second factor",
    WebauthnRpId => "webauthn needs webauthn.rp_id",
    AuthType => "unknown authentication type",
    SignatureSuite => "unknown signature_algorithm_suite",
    SessionRecording => "unknown session_recording mode",
    TunnelStrategy => "unknown tunnel_strategy",
    EnterpriseFeature => "this needs Teleport Enterprise",
    ProxyProtocol => "proxy_protocol must be on or off",

    // Storage section.
    StorageType => "unsupported storage type",
    TableName => "storage.table_name is missing",
    StorageValue => "a value of the storage section is invalid",
    Region => "no AWS region",
    AuditUri => "unsupported audit_events_uri",
    SessionsUriMissing => "audit_events_uri is set, but audit_sessions_uri is not",
    SessionsUri => "unsupported audit_sessions_uri",

    // AWS.
    CaBundle => "unable to add custom RootCAs: AWS_CA_BUNDLE is set",
    NoCredentials => "no AWS credentials in the environment",
    TokenFile => "cannot read the web identity token file",
    AccessDenied => "AWS refuses a call that the start needs",
    CreateTable => "the table does not exist and cannot be created",
    UnsupportedSchema => "unsupported schema of the state table",
    KeySchema => "the state table cannot be read or written",
    TimeToLive => "time to live of a table is off and cannot be turned on",
    Stream => "the stream of the state table is off and cannot be turned on",
    StreamUnreadable => "the stream of the state table cannot be read",
    ContinuousBackups => "continuous_backups is true, but cannot be turned on",
    CreateBucket => "the sessions bucket does not exist and cannot be created",

    // Bootstrap.
    BootstrapFile => "cannot read the bootstrap file",
    ResourceSyntax => "cannot parse a resource",
    ResourceKind => "not implemented: a bootstrap resource of this kind",
    ResourceInvalid => "a resource is invalid",
    BootstrapExists => "a bootstrapped resource exists already",
    AuthorityType => "unknown type of certificate authority",
    AuthorityName => "name and type of a certificate authority contradict each other",
    AuthorityKeysMissing => "a certificate authority lacks signing keys of a kind that its type needs",
    AuthorityForeignKeys => "a certificate authority of another cluster has private keys",
    AuthorityKeyUnusable => "a key of a certificate authority is unusable",
    AuthorityKeyMismatch => "certificate and key of a certificate authority do not belong together",
    AuthorityNotCa => "the certificate of a certificate authority is not a CA certificate",
    AuthoritySubject => "subject O of a CA certificate is not the cluster name",
    AuthorityRoles => "roles and role_map are both set",

    // Apply on startup.
    ApplyFile => "cannot read the apply-on-startup file",
    ApplyKind => "not implemented: a resource of this kind on startup",
    TokenRoles => "the roles of a token are missing or unknown",
    TokenMethod => "unknown join method",

    // Auth.
    LicenseMissing => "cannot read the license file",
    LicenseFormat => "the license file is not PEM",
    MajorSkipped => "the last version that ran is more than one major behind",
    MajorDowngrade => "the last version that ran is of a newer major",

    // Proxy.
    JoinTokenFile => "cannot read the join token file",
    JoinToken => "the join token is unknown or expired",
    JoinTokenRole => "the join token does not allow this role",
    AuthTooOld => "Teleport instance is too new for its Auth",
    ProxyTooOld => "Teleport instance is too old for its Auth",
    KeyPairFile => "cannot read a key pair",
    KeyPairMismatch => "certificate and key do not belong together",
    KeyPairUntrusted => "certificate signed by unknown authority",

    // Clients of Auth.
    ClientUnverified => "the client certificate does not verify",
    ServerNameUnknown => "the server name means a cluster that is not known",
    ClientIntermediates => "client certificates with intermediates are not supported",
    ClientSubject => "the client certificate lacks common name or organization",
    ClientRestricted => "the client certificate is restricted to a usage",
    ClientCluster => "the cluster in the client certificate is not its issuer's",
    ClientHostName => "the common name of a system role is not <uuid>.<cluster>",
    ClientSystemRoleIssuer => "a system role must be signed by the host authority",
    ClientUserIssuer => "a user must be signed by the user authority",
    ClientUserUnknown => "the user or its role does not exist",
    ClientAnonymous => "this call needs a client certificate",
    ClientNotAllowed => "the client's role does not allow this call",
    ClientAdminAction => "this admin action needs a second factor",
    ClientVersion => "the client's version is too old",

    // Resources by API or file.
    VersionTarget => "autoupdate_version is invalid",
    UpdateConfig => "autoupdate_config is invalid",
    Revision => "the resource was changed meanwhile",
    Exists => "the resource exists already",
    Absent => "the resource does not exist",
    Nonce => "the nonce of cluster_maintenance_config is not the stored one",
    MaintenanceWindow => "cluster_maintenance_config is invalid",
    Alert => "the cluster alert is invalid",
}

/// A rule that was broken, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule.
    pub rule: Rule,
    /// What broke it.
    pub detail: String,
}

impl Rule {
    /// This rule, broken by something.
    pub fn by(self, detail: impl fmt::Display) -> Refusal {
        Refusal { rule: self, detail: detail.to_string() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.text(), self.detail)
    }
}

impl std::error::Error for Refusal {}
