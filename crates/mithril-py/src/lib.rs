//! Python binding of Mithril's kernels: conversions, nothing else.

use pyo3::pymodule;

#[pymodule]
mod _kernels {
    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        use pyo3::types::PyModuleMethods;
        module.add("__version__", mithril_kernels::VERSION)
    }
}
