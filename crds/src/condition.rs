//! The words of conditions: types and reasons are closed sets, so that a program can match on them and the
//! documentation can list them all.

use std::fmt;

use strum::EnumIter;

/// Question that a condition answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter)]
pub enum ConditionType {
    /// Everything is as the spec asks.
    Ready,
    /// Users can log in now.
    Available,
    /// Tables and bucket are as specified.
    StorageReady,
    /// The role and its policy are as specified.
    CredentialsReady,
    /// Authorities and certificates exist and are valid.
    CertificatesReady,
    /// The port block is claimed; only for tenants that ask for one.
    PortsAllocated,
    /// The licence is there and has not ended; only for the Enterprise edition.
    LicenseValid,
    /// Enough Auth processes are ready, all reporting the same version.
    AuthAvailable,
    /// Enough Proxy processes are ready, all reporting the same version.
    ProxyAvailable,
    /// The inventory was read within `spec.agents.reportTTL`.
    AgentsObserved,
    /// AgentPool: the inventory of its tenant was read in time.
    Observed,
    /// The tenant's Teleport tells its agents which version to run, and when, as the AgentPools and the maintenance window
    /// say; only for tenants with an enrolled AgentPool.
    AgentUpdatesPublished,
    /// A change is due: `status.next` says which.
    UpdateDue,
    /// A due change waits for a person.
    UpdateBlocked,
    /// A change runs.
    Updating,
    /// Work is going on (kstatus).
    Reconciling,
    /// Only a person can help (kstatus).
    Stalled,
    /// More tenants are due than fit into one maintenance window.
    Undersized,
    /// The release that runs is not in the release feed, or was withdrawn; exists only while it is so.
    ReleaseUnlisted,
    /// The fleet policy as it is written now cannot be used, and the last good one is in force; exists only while it is so.
    PolicyStale,
    /// Annotations of the public Service are not allowed by the fleet policy, and left out; exists only while it is so.
    AnnotationsRefused,
    /// Something keeps scrapers from reading the metrics; exists only while it is so.
    MetricsUnreadable,
}

/// Why a condition has its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter)]
pub enum Reason {
    /// All as specified.
    AsSpecified,
    /// Work is going on.
    InProgress,
    /// Every process that users need answers.
    Serving,
    /// A process that users need does not answer.
    NotServing,
    /// Pods are starting.
    PodsNotReady,
    /// Processes report different versions, or another one than the pods were made from.
    VersionMismatch,
    /// The spec cannot be carried out.
    InvalidSpec,
    /// The fleet policy cannot be read, or has no answer for this tenant.
    FleetPolicyInvalid,
    /// The domain, or one above or below it, belongs to another tenant.
    DomainTaken,
    /// The fleet policy does not let the tenant's namespace use the domain.
    DomainNotAllowed,
    /// The fleet policy does not let tenants set an annotation of their public Service.
    AnnotationNotAllowed,
    /// No AWS account of the fleet policy has room for another tenant.
    AccountsFull,
    /// The port pool and those that take over from it are full.
    PoolExhausted,
    /// An object or resource of this name is not ours.
    NameTaken,
    /// The licence Secret or its key is missing.
    LicenseSecretMissing,
    /// The licence ends within 30 days.
    LicenseExpiring,
    /// The licence has ended.
    LicenseExpired,
    /// The web certificate waits for the limits of the ACME server.
    IssuanceQueued,
    /// The ACME server, or what it asks for, keeps a web certificate from being issued.
    IssuanceFailed,
    /// The web certificate that is there serves, and its renewal fails.
    RenewalFailing,
    /// A certificate authority was lost and cannot be made again.
    AuthorityLost,
    /// The table of the cluster state was lost and cannot be made again.
    StorageLost,
    /// The recorded identity is not this object's: a copied or restored status.
    IdentityMismatch,
    /// A newer operator has settled this tenant.
    OperatorTooOld,
    /// The deletion is held back by `spec.deletionProtection`.
    DeletionProtection,
    /// A call was refused for lack of a permission.
    AccessDenied,
    /// The API server does not take an object as the spec or the fleet policy wants it.
    RefusedByCluster,
    /// The Gateway does not take the route of port 443.
    RouteNotAccepted,
    /// A call failed and is repeated.
    Retrying,
    /// A defect of the operator.
    Internal,
    /// The inventory was read in time.
    Observed,
    /// The inventory could not be read in time.
    ReportStale,
    /// The inventory was never read.
    ReportMissing,
    /// What is remembered of agents that left cannot be read.
    MemoryUnreadable,
    /// The tenant's Teleport tells its agents what is wanted.
    Published,
    /// No AgentPool is enrolled any more: the tenant's Teleport updates no agent.
    NotEnrolled,
    /// Somebody else changed what the tenant's Teleport tells its agents.
    ForeignEdit,
    /// The tenant's Teleport has no managed updates, or keeps them itself.
    NotOffered,
    /// The Tenant that is named does not exist.
    TenantMissing,
    /// Nothing is due.
    UpToDate,
    /// The pinned version differs from what runs.
    VersionPinned,
    /// The pod template would change.
    TemplateChanged,
    /// The wanted version cannot be run by this operator.
    VersionUnknown,
    /// The channel allows a newer release.
    NewRelease,
    /// A due change waits for time alone.
    Waiting,
    /// A change runs.
    HopRunning,
    /// A change takes longer than it may, and cannot go back.
    HopHalted,
    /// No change runs.
    Idle,
    /// `spec.paused` is true: nothing is written but the status.
    Paused,
    /// The platform team has frozen the fleet.
    Frozen,
    /// A part of the tenant is not as specified.
    NotSettled,
    /// The wanted version has an older major than Auth was ever started with.
    Downgrade,
    /// The release failed on this tenant before.
    FailedBefore,
    /// The inventory was never read.
    AgentReportMissing,
    /// The last reading of the inventory is too old.
    AgentReportStale,
    /// Auth has not been ready long enough for every agent to have reported.
    AgentReportIncomplete,
    /// Agents run an older major than the tenant.
    AgentsBehind,
    /// Agents report versions that cannot be read.
    AgentVersionUnknown,
    /// No maintenance window is known for this tenant.
    WindowMissing,
    /// The maintenance window cannot be evaluated.
    WindowInvalid,
    /// The maintenance window does not grant the tenant's namespace.
    WindowNotGranted,
    /// The operator's clock and the API server's differ.
    ClockSkewed,
    /// The release is too young for the channel.
    SoakPending,
    /// Earlier waves go first.
    WavePending,
    /// The release failed on too many tenants, or was withdrawn.
    ReleaseHalted,
    /// Users could not log in for longer than the month allows.
    BudgetSpent,
    /// The maintenance window is closed.
    WindowClosed,
    /// An exclusion covers the maintenance window.
    Excluded,
    /// As many tenants as may are being updated.
    ConcurrencyReached,
    /// The release that runs is not in the release feed.
    ReleaseNotListed,
    /// The release that runs was withdrawn.
    ReleaseWithdrawn,
    /// The tenant is being removed.
    Removing,
    /// The exclusions of the maintenance window leave nothing of it.
    NeverOpens,
    /// More tenants are due than fit into one maintenance window.
    CapacityExceeded,
    /// What is due fits into one maintenance window.
    CapacitySuffices,
    /// No update was measured yet, so nobody can tell what fits into a maintenance window.
    CapacityUnknown,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}
