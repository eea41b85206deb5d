//! Renderings that were made already. A tenant is planned several times in one run, each time with one more fact, and
//! almost none of them changes what is rendered. Whoever plans keeps them; they are found by everything that goes into one.

use std::sync::Arc;

use super::{Inputs, Rendered, pod};
use crate::cloud::CloudNames;
use crate::fleet::Installation;
use crate::keys::{Authorities, MetricsKeys};
use crate::names::Identity;
use crate::version::Version;
use crate::wanted::Wanted;
use crds::tenant_status::Ports;

/// Renderings that are kept: of Auth and of Proxy, before and after a change.
const MOST: usize = 4;

/// The last renderings that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The latest last.
    renderings: Vec<(Source, Arc<Rendered>)>,
}

/// `Inputs` that own what they are; of the feed the image that it leads to.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    tenant: Identity,
    wanted: Wanted,
    installation: Installation,
    image: String,
    cloud: CloudNames,
    ports: Option<Ports>,
    version: Version,
    authorities: Authorities,
    metrics: MetricsKeys,
    license: Option<String>,
    operator_namespace: String,
}

impl Source {
    fn of(inputs: &Inputs<'_>) -> Source {
        Source {
            tenant: inputs.tenant.clone(),
            wanted: inputs.wanted.clone(),
            installation: inputs.installation.clone(),
            image: pod::image(inputs),
            cloud: inputs.cloud.clone(),
            ports: inputs.ports.cloned(),
            version: inputs.version.clone(),
            authorities: inputs.authorities.clone(),
            metrics: inputs.metrics.clone(),
            license: inputs.license.map(str::to_owned),
            operator_namespace: inputs.operator_namespace.to_owned(),
        }
    }

    fn is(&self, inputs: &Inputs<'_>) -> bool {
        let Inputs {
            tenant,
            wanted,
            installation,
            feed: _,
            cloud,
            ports,
            version,
            authorities,
            metrics,
            license,
            operator_namespace,
        } = inputs;
        self.version == **version
            && self.image == pod::image(inputs)
            && self.ports.as_ref() == *ports
            && self.tenant == **tenant
            && self.cloud == **cloud
            && self.wanted == **wanted
            && self.installation == **installation
            && self.authorities == **authorities
            && self.metrics == **metrics
            && self.license.as_deref() == *license
            && self.operator_namespace == *operator_namespace
    }
}

impl Kept {
    /// What these inputs are rendered to.
    pub fn render(&mut self, inputs: &Inputs<'_>) -> Arc<Rendered> {
        if let Some((_, found)) = self.renderings.iter().find(|(source, _)| source.is(inputs)) {
            return Arc::clone(found);
        }
        let rendered = Arc::new(Rendered::new(inputs));
        if self.renderings.len() == MOST {
            self.renderings.remove(0);
        }
        self.renderings.push((Source::of(inputs), Arc::clone(&rendered)));
        rendered
    }
}
