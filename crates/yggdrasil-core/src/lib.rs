//! The engine of Yggdrasil: protocol, keyspace and routing, without sockets, Python or a clock of its own.

pub mod acl;
pub mod commands;
pub mod control;
pub mod engine;
pub mod hashing;
pub mod keyspace;
pub mod lease;
pub mod namespaces;
pub mod random;
pub mod resp;
pub mod ring;
pub mod script;
pub mod shm;
pub mod stats;
