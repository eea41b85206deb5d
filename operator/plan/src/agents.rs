//! The agents of a tenant: a compact reading of the inventory, the memory of those that vanished too early, the pools
//! that share them out, and what of all this the gate of an update and the status of a pool say.

pub mod inventory;
pub mod memory;
pub mod pool;
pub mod status;
pub mod view;

pub use inventory::{Agent, Inventory, Profile, Reading, Unusable};
pub use memory::{Forget, Memory, Overflow, Stored};
pub use pool::Pool;
pub use view::{AgentsView, Laggard, Observation, Recall, Share};
