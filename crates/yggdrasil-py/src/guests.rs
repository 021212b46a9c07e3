//! What the supervisor has to do with processes that read the shared memory.

use std::os::fd::{AsFd, AsRawFd};

use pyo3::prelude::*;
use yggdrasil_core::lease::{LeasePage, PageState};
use yggdrasil_core::shm::Segment;

use crate::errors::to_python;
use crate::node::NodeShape;

/// The page in which a process that reads the shared memory says what it looks at.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct GuestPage {
    segment: Segment,
    page: LeasePage,
}

#[pymethods]
impl GuestPage {
    #[new]
    fn new(shape: &NodeShape) -> PyResult<Self> {
        let shards = shape.shape.shards;
        let segment = LeasePage::create(shards).map_err(to_python)?;
        let page = LeasePage::open(&segment, shards, 0).map_err(to_python)?;
        Ok(Self { segment, page })
    }

    /// The descriptor of the page, which lives as long as this object.
    fn fileno(&self) -> i32 {
        self.segment.as_fd().as_raw_fd()
    }

    /// Whether a worker has cut the process off, because it held the memory of a value for too long that was gone.
    #[getter]
    fn overdue(&self) -> bool {
        self.page.state() == PageState::Overdue
    }

    /// Tells the process that its leases count no more.
    fn close(&self) {
        self.page.set_state(PageState::Closed);
    }
}
