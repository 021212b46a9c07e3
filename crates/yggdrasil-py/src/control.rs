//! The control segment for supervisor and steward.

use std::os::fd::OwnedFd;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use yggdrasil_core::control;
use yggdrasil_core::stats::{COUNTERS, CounterKind};

use crate::errors::to_python;
use crate::inspect::stats_dict;
use crate::node::NodeShape;
use crate::socket;

/// Reads counters, declares workers dead. Never touches a key.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct Control {
    control: control::Control,
    wake_descriptors: Vec<OwnedFd>,
}

impl Control {
    fn check(&self, shard: usize) -> PyResult<()> {
        if shard < self.control.shape().shards {
            return Ok(());
        }
        Err(to_python(format!("there is no shard {shard}")))
    }
}

#[pymethods]
impl Control {
    #[new]
    fn new(shape: &NodeShape, control_fd: i32, event_fds: Vec<i32>) -> PyResult<Self> {
        let control = control::Control::open(socket::duplicate(control_fd)?, shape.shape)
            .map_err(to_python)?;
        let wake_descriptors = event_fds
            .iter()
            .map(|&fd| socket::duplicate(fd))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            control,
            wake_descriptors,
        })
    }

    /// Called when a worker was seen dead, before its successor starts: all others fail what they had under way to it.
    fn next_incarnation(&self, shard: usize) -> PyResult<u32> {
        self.check(shard)?;
        let incarnation = self.control.next_incarnation(shard);
        for (other, descriptor) in self.wake_descriptors.iter().enumerate() {
            if other != shard {
                rustix::io::write(descriptor, &1_u64.to_ne_bytes()).map_err(to_python)?;
            }
        }
        Ok(incarnation)
    }

    /// Statistics of a worker, read without disturbing it.
    fn stats<'py>(&self, py: Python<'py>, shard: usize) -> PyResult<Bound<'py, PyDict>> {
        self.check(shard)?;
        stats_dict(
            py,
            &self.control.stats(shard),
            &self.control.command_names(),
        )
    }
}

/// The declared numbers of a worker: name, "counter" or "gauge", help.
#[pyfunction]
pub fn counter_specs() -> Vec<(&'static str, &'static str, &'static str)> {
    let kind = |kind| match kind {
        CounterKind::Counter => "counter",
        CounterKind::Gauge => "gauge",
    };
    COUNTERS
        .iter()
        .map(|spec| (spec.name, kind(spec.kind), spec.help))
        .collect()
}
