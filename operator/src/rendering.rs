//! What a build makes of the fleet policy before it renders pods: nothing. A test build can be told to do otherwise, so
//! that tests see what a new version of the operator does to tenants whose template it changes.

use plan::fleet::Installation;

/// Names another organisation for all images.
#[cfg(feature = "test-clock")]
const VARIABLE: &str = "TENANT_OPERATOR_TEST_TEMPLATE";

/// The installation as this build renders it.
#[cfg(not(feature = "test-clock"))]
pub fn of_this_build(installation: &Installation) -> Installation {
    installation.clone()
}

/// The installation as this build renders it.
#[cfg(feature = "test-clock")]
pub fn of_this_build(installation: &Installation) -> Installation {
    let mut installation = installation.clone();
    if let Ok(organisation) = std::env::var(VARIABLE) {
        for image in [&mut installation.images.enterprise, &mut installation.images.community] {
            *image = format!("{organisation}/{image}");
        }
    }
    installation
}
