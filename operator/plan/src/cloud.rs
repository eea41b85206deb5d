//! The tenant's cloud resources: what they look like, what they should look like, and the steps between.

pub mod backup;
pub mod facts;
pub mod rights;
pub mod stage;
pub mod step;
pub mod wanted;

pub use facts::{CloudFacts, Part, all_parts};
pub use stage::Gap;
pub use wanted::CloudNames;
