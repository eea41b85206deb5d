//! What agents are told, as an Auth keeps it: whole messages, guarded by revisions and a nonce.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use tonic::{Code, Request, Response, Status};

use super::super::super::kept::Kept;
use super::super::super::rpc::types::ClusterAlert;
use super::super::super::rpc::update::auto_update_service_server::AutoUpdateService;
use super::super::super::rpc::update::{
    ConfigRequest, GetAutoUpdateConfigRequest, GetAutoUpdateVersionRequest, VersionRequest,
};
use super::Seen;

const CONFIG: &str = "autoupdate_config";
const VERSION: &str = "autoupdate_version";
const WINDOW: &str = "cluster_maintenance_config";

/// The resources by kind, and how they are served.
#[derive(Default)]
pub struct Told {
    pub resources: BTreeMap<&'static str, Kept>,
    pub alerts: Vec<ClusterAlert>,
    /// Feature of the licence.
    pub cloud: bool,
    /// Writes are refused with this.
    pub refuses: Option<Code>,
    /// Reads are refused with this.
    pub hides: Option<Code>,
    /// Somebody else writes after each read.
    pub contended: bool,
    writes: u64,
}

impl Told {
    pub fn read(&mut self, kind: &'static str) -> Result<Response<Kept>, Status> {
        if let Some(code) = self.hides {
            return Err(Status::new(code, "not here"));
        }
        let found = self.resources.get(kind).cloned().ok_or_else(|| Status::not_found(kind))?;
        if self.contended {
            self.keep(kind, found.clone());
        }
        Ok(Response::new(found))
    }

    pub fn write_window(&mut self, wanted: Kept) -> Result<Response<()>, Status> {
        self.accepts()?;
        let last = self.resources.get(WINDOW).map_or(0, |kept| kept.number(3));
        if wanted.number(3) != last {
            return Err(Status::failed_precondition("another nonce"));
        }
        self.keep(WINDOW, wanted);
        Ok(Response::new(()))
    }

    fn create(&mut self, kind: &'static str, wanted: Option<Kept>) -> Result<Response<Kept>, Status> {
        self.accepts()?;
        if self.resources.contains_key(kind) {
            return Err(Status::already_exists(kind));
        }
        Ok(Response::new(self.keep(kind, wanted.unwrap_or_default())))
    }

    fn update(&mut self, kind: &'static str, wanted: Option<Kept>) -> Result<Response<Kept>, Status> {
        self.accepts()?;
        let wanted = wanted.unwrap_or_default();
        let found = self.resources.get(kind).ok_or_else(|| Status::not_found(kind))?;
        if revision(found) != revision(&wanted) {
            return Err(Status::failed_precondition("another revision"));
        }
        Ok(Response::new(self.keep(kind, wanted)))
    }

    fn accepts(&self) -> Result<(), Status> {
        self.refuses.map_or(Ok(()), |code| Err(Status::new(code, "refused")))
    }

    /// Puts a resource in, under a new revision or the next nonce.
    pub fn keep(&mut self, kind: &'static str, mut kept: Kept) -> Kept {
        self.writes += 1;
        if kind == WINDOW {
            let last = self.resources.get(WINDOW).map_or(0, |kept| kept.number(3));
            kept.set_number(3, last + 1);
        } else {
            let mut metadata = kept.part(4).expect("a message").unwrap_or_default();
            metadata.set_text(8, &format!("r{}", self.writes));
            kept.set_part(4, Some(&metadata));
        }
        self.resources.insert(kind, kept.clone());
        kept
    }
}

fn revision(kept: &Kept) -> String {
    kept.part(4).expect("a message").unwrap_or_default().text(8)
}

impl Seen {
    pub(super) fn told(&self, admin: bool) -> Result<MutexGuard<'_, Told>, Status> {
        match admin {
            true => Ok(self.told.lock().expect("no panic")),
            false => Err(Status::permission_denied("the role Admin is needed")),
        }
    }
}

/// The service of managed updates.
pub struct Updates {
    pub(super) seen: Arc<Seen>,
    pub(super) admin: bool,
}

#[tonic::async_trait]
impl AutoUpdateService for Updates {
    async fn get_auto_update_config(&self, _: Request<GetAutoUpdateConfigRequest>) -> Result<Response<Kept>, Status> {
        self.seen.told(self.admin)?.read(CONFIG)
    }

    async fn create_auto_update_config(&self, request: Request<ConfigRequest>) -> Result<Response<Kept>, Status> {
        self.seen.told(self.admin)?.create(CONFIG, request.into_inner().config)
    }

    async fn update_auto_update_config(&self, request: Request<ConfigRequest>) -> Result<Response<Kept>, Status> {
        self.seen.told(self.admin)?.update(CONFIG, request.into_inner().config)
    }

    async fn get_auto_update_version(&self, _: Request<GetAutoUpdateVersionRequest>) -> Result<Response<Kept>, Status> {
        self.seen.told(self.admin)?.read(VERSION)
    }

    async fn create_auto_update_version(&self, request: Request<VersionRequest>) -> Result<Response<Kept>, Status> {
        self.seen.told(self.admin)?.create(VERSION, request.into_inner().version)
    }

    async fn update_auto_update_version(&self, request: Request<VersionRequest>) -> Result<Response<Kept>, Status> {
        self.seen.told(self.admin)?.update(VERSION, request.into_inner().version)
    }
}
