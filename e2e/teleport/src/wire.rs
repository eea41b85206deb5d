//! Generated messages and services. Nothing is written by hand here.

#![allow(clippy::all, missing_docs, dead_code, reason = "generated from proto/")]

include!(concat!(env!("OUT_DIR"), "/wire.rs"));
