//! Python binding of Mithril's kernels: conversions, nothing else.

mod buffer;
mod chunk;
mod dedup;
mod errors;
mod overlaps;
mod quantize;
mod samples;
mod texts;
mod values;

use pyo3::pymodule;

#[pymodule]
mod _kernels {
    #[pymodule_export]
    use crate::chunk::{
        ChunkHeader, decode, element_size, elements, encode, fingerprint, header_bytes, simd_level,
    };
    #[pymodule_export]
    use crate::dedup::{
        DocumentLinks, DocumentSigner, clusters, collision_probability, first_equal, plan_bands,
        similarities,
    };
    #[pymodule_export]
    use crate::errors::KernelError;
    #[pymodule_export]
    use crate::overlaps::{AnchorFinder, NgramSet, RepeatFinder, cut_texts, text_ngrams};
    #[pymodule_export]
    use crate::quantize::{dequantize, quantize};
    #[pymodule_export]
    use crate::samples::{TokenEncoder, decode_jpeg};
    #[pymodule_export]
    use crate::texts::keep_texts;

    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        use mithril_kernels::chunk;
        use pyo3::types::PyModuleMethods;
        module.add("__version__", mithril_kernels::VERSION)?;
        module.add("BLOCK_BYTES_MAX", chunk::BLOCK_BYTES_MAX)?;
        module.add("CHUNK_BYTES_MAX", chunk::CHUNK_BYTES_MAX)
    }
}
