//! Simulations of eviction policies.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use yggdrasil_admission::simulator::{self, Format, POLICIES, capture};

use crate::errors::to_python;

/// Several policies at several sizes over one trace, which is fed in pieces.
#[pyclass(module = "yggdrasil._core")]
pub struct Simulation {
    simulation: simulator::Simulation,
}

#[pymethods]
impl Simulation {
    #[new]
    #[pyo3(signature = (*, policies, memory, format, object_bytes, overhead))]
    fn new(
        policies: Vec<String>,
        memory: Vec<u64>,
        format: &str,
        object_bytes: u64,
        overhead: u64,
    ) -> PyResult<Self> {
        let format = Format::NAMES
            .iter()
            .find(|(name, _)| *name == format)
            .map(|(_, format)| *format)
            .ok_or_else(|| to_python(format!("there is no trace format {format}")))?;
        let simulation =
            simulator::Simulation::new(&policies, &memory, format, object_bytes, overhead)
                .map_err(|name| to_python(format!("there is no policy {name}")))?;
        Ok(Self { simulation })
    }

    /// Takes the next piece. Returns the requests so far.
    fn feed(&mut self, py: Python<'_>, piece: &Bound<'_, PyBytes>) -> PyResult<u64> {
        let piece = piece.as_bytes();
        py.detach(|| self.simulation.feed(piece)).map_err(to_python)
    }

    /// Takes the end of the trace. Returns what each policy made of it at each size.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let outcomes = py.detach(|| self.simulation.finish()).map_err(to_python)?;
        let rows = PyList::empty(py);
        for outcome in outcomes {
            let row = PyDict::new(py);
            row.set_item("policy", outcome.policy)?;
            row.set_item("memory", outcome.memory)?;
            row.set_item("reads", outcome.reads)?;
            row.set_item("hits", outcome.hits)?;
            row.set_item("read_bytes", outcome.read_bytes)?;
            row.set_item("hit_bytes", outcome.hit_bytes)?;
            rows.append(row)?;
        }
        Ok(rows)
    }
}

/// A capture in the making: what the workers of a node have recorded becomes one file.
#[pyclass(module = "yggdrasil._core")]
pub struct CaptureWriter {
    merge: capture::Merge,
    workers: usize,
    header: Option<capture::Header>,
}

#[pymethods]
impl CaptureWriter {
    #[new]
    fn new(shift: u8, workers: usize) -> PyResult<Self> {
        if shift > capture::SHIFT_MAX {
            let most = capture::SHIFT_MAX;
            return Err(to_python(format!("shift is {shift}, expected 0 to {most}")));
        }
        Ok(Self {
            merge: capture::Merge::new(workers),
            workers,
            header: Some(capture::Header { shift }),
        })
    }

    /// Takes what a worker has recorded since the last time.
    fn add(&mut self, worker: usize, records: &[u8]) -> PyResult<()> {
        if worker >= self.workers {
            return Err(to_python(format!("there is no worker {worker}")));
        }
        self.merge.add(worker, records);
        Ok(())
    }

    /// What the file goes on with: all that was recorded before this moment, in the order of its times.
    fn take<'py>(&mut self, py: Python<'py>, until_us: u64) -> Bound<'py, PyBytes> {
        let mut out = Vec::new();
        out.extend(
            self.header
                .take()
                .into_iter()
                .flat_map(capture::Header::write),
        );
        py.detach(|| self.merge.take(until_us, &mut out));
        PyBytes::new(py, &out)
    }
}

/// The policies that can be simulated, the engine's own first.
#[pyfunction]
pub fn simulated_policies() -> Vec<&'static str> {
    POLICIES.iter().map(|(name, _)| *name).collect()
}

/// The formats of traces that are read.
#[pyfunction]
pub fn trace_formats() -> Vec<&'static str> {
    Format::NAMES.iter().map(|(name, _)| *name).collect()
}

/// The format that a trace with this beginning most probably has.
#[pyfunction]
pub fn detect_trace_format(beginning: &[u8]) -> &'static str {
    let detected = Format::detect(beginning);
    Format::NAMES
        .iter()
        .find(|(_, format)| *format == detected)
        .map_or("keys", |(name, _)| name)
}
