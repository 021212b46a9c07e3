//! The node's shape and its shared memory.

use std::os::fd::{IntoRawFd, OwnedFd};

use pyo3::prelude::*;
use yggdrasil_core::control::{self, Control};
use yggdrasil_core::keyspace::{Shard, ShardReader, ShardShape};
use yggdrasil_core::lease::{HolderId, Holders, LeasePage};
use yggdrasil_core::shm::Segment;

use crate::errors::{to_config_error, to_python};
use crate::socket;

/// What every process of the node must agree on.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct NodeShape {
    pub(crate) shape: control::NodeShape,
}

impl NodeShape {
    /// The shape of one of its shards.
    pub(crate) fn shard_shape(&self, memory_limit: u64) -> ShardShape {
        let node = &self.shape;
        ShardShape {
            databases: node.databases as u16,
            segment_bytes: node.arena_bytes,
            memory_limit,
            hash_seed: node.hash_seed,
            value_bytes_max: node.arena_bytes,
        }
    }
}

#[pymethods]
impl NodeShape {
    #[new]
    #[pyo3(signature = (*, shards, arena_bytes, ring_bytes, databases, hash_seed))]
    fn new(
        shards: usize,
        arena_bytes: u64,
        ring_bytes: usize,
        databases: usize,
        hash_seed: u64,
    ) -> PyResult<Self> {
        let shape = control::NodeShape {
            shards,
            arena_bytes,
            ring_bytes,
            databases,
            hash_seed,
        };
        shape.validate().map_err(to_config_error)?;
        Ok(Self { shape })
    }

    #[getter]
    fn shards(&self) -> usize {
        self.shape.shards
    }

    #[getter]
    fn arena_bytes(&self) -> u64 {
        self.shape.arena_bytes
    }

    #[getter]
    fn ring_bytes(&self) -> usize {
        self.shape.ring_bytes
    }

    #[getter]
    fn databases(&self) -> usize {
        self.shape.databases
    }

    #[getter]
    fn hash_seed(&self) -> u64 {
        self.shape.hash_seed
    }

    /// The shard of a hash slot.
    fn shard_of_slot(&self, slot: u16) -> usize {
        self.shape.shard_of_slot(slot)
    }

    /// The first and the last hash slot of a shard.
    fn slots_of_shard(&self, shard: usize) -> (u16, u16) {
        self.shape.slots_of_shard(shard)
    }
}

/// Creates the node's shared memory: control segment, one arena a shard, one eventfd a shard. The caller owns the
/// descriptors, which are closed on exec.
#[pyfunction]
pub fn create_segments(shape: &NodeShape) -> PyResult<(i32, Vec<i32>, Vec<i32>)> {
    use rustix::event::{EventfdFlags, eventfd};
    let control = Control::create(&shape.shape).map_err(to_python)?;
    let arenas = (0..shape.shape.shards)
        .map(|shard| Segment::create(&format!("yggdrasil-arena-{shard}"), shape.shape.arena_bytes))
        .collect::<Result<Vec<_>, _>>()
        .map_err(to_python)?;
    let events = (0..shape.shape.shards)
        .map(|_| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK))
        .collect::<Result<Vec<_>, _>>()
        .map_err(to_python)?;
    let raw = |descriptor: OwnedFd| descriptor.into_raw_fd();
    Ok((
        raw(control),
        arenas.into_iter().map(|arena| raw(arena.into())).collect(),
        events.into_iter().map(raw).collect(),
    ))
}

/// The key's hash slot, as in Redis Cluster.
#[pyfunction]
pub fn key_slot(key: &[u8]) -> u16 {
    yggdrasil_core::keyspace::slot::key_slot(key)
}

/// A process that reads the shared memory: its id, the descriptor of its lease page, the leases that it may have.
pub type Guest = (HolderId, i32, usize);

/// Maps a guest's lease page.
pub fn open_lease_page(node: &control::NodeShape, guest: &Guest) -> PyResult<LeasePage> {
    let segment = Segment::adopt(socket::duplicate(guest.1)?).map_err(to_python)?;
    LeasePage::open(&segment, node.shards, guest.2).map_err(to_python)
}

type Opened = (Control, Shard, Vec<Option<ShardReader>>);

/// Opens everything a worker needs; its own shard begins empty.
pub fn open_parts(
    shape: &NodeShape,
    shard: usize,
    control_fd: i32,
    arena_fds: &[i32],
    guests: &[Guest],
    memory_limit: u64,
    is_loading: bool,
) -> PyResult<Opened> {
    let node = &shape.shape;
    if arena_fds.len() != node.shards || shard >= node.shards {
        return Err(to_python(format!(
            "shard {shard} and {} arenas do not fit a node of {} shards",
            arena_fds.len(),
            node.shards
        )));
    }
    let control = Control::open(socket::duplicate(control_fd)?, *node).map_err(to_python)?;
    let shard_shape = shape.shard_shape(memory_limit);
    let mut holders = Holders::new(
        shard,
        (0..node.shards).map(|worker| control.lease_page(worker)),
    );
    for guest in guests {
        holders.add_guest(guest.0, open_lease_page(node, guest)?);
    }
    let mut holders = Some(holders);
    let mut own = None;
    let mut readers = Vec::new();
    for (index, &descriptor) in arena_fds.iter().enumerate() {
        let segment = Segment::adopt(socket::duplicate(descriptor)?).map_err(to_python)?;
        if index == shard {
            let mapping = segment.own().map_err(to_python)?;
            let holders = holders.take().unwrap_or_default();
            let create = if is_loading {
                Shard::create_hidden
            } else {
                Shard::create_beside
            };
            own = Some(create(holders, mapping, shard_shape.clone()).map_err(to_python)?);
            readers.push(None);
        } else {
            let mapping = segment.read().map_err(to_python)?;
            readers.push(Some(
                ShardReader::open(mapping, &shard_shape).map_err(to_python)?,
            ));
        }
    }
    let own = own.ok_or_else(|| to_python("the own shard was not opened"))?;
    Ok((control, own, readers))
}
