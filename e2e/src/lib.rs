//! The test bed: a real control plane, emulators and stand-ins for everything around the operator.

pub mod acme;
pub mod aws;
pub mod bench;
pub mod cache;
pub mod cert_manager;
pub mod control_plane;
mod follow;
pub mod helm;
pub mod http;
pub mod interrupt;
pub mod kinds;
pub mod kubelet;
pub mod network;
mod open_files;
pub mod pki;
pub mod process;
pub mod remote;
pub mod slot;
pub mod testbed;
pub mod tools;
pub mod venv;
