//! Generated from `proto/`: the part of Teleport's Auth service that is used here.

/// Package `types`.
pub mod types {
    tonic::include_proto!("types");
}

/// Package `proto`; it refers to `types` as its sibling.
pub mod service {
    tonic::include_proto!("proto");
}

/// Package `teleport.autoupdate.v1`.
pub mod update {
    tonic::include_proto!("teleport.autoupdate.v1");
}
