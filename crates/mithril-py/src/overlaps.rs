//! Repeats within texts, and n-grams that texts share with others.

use mithril_kernels::dedup::{Anchors, Border, Ngrams, Repeats, Shingler, Unit, ngrams};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Input;
use crate::dedup::form;
use crate::errors::to_python;
use crate::values::{bounds, bytes_of, values};

/// Texts of an Arrow array: offsets, their width, data, the first text and the number of texts.
type Texts = (Input, usize, Input, usize, usize);

/// A collector of the places around which repeats may lie.
#[pyclass(module = "mithril._kernels")]
pub struct AnchorFinder {
    anchors: Option<Anchors>,
}

#[pymethods]
impl AnchorFinder {
    #[new]
    fn new(length: usize, part: u32, parts: u32) -> PyResult<Self> {
        let anchors = Anchors::new(length, part, parts).map_err(to_python)?;
        Ok(Self {
            anchors: Some(anchors),
        })
    }

    /// Looks at texts. The first byte of the first one is at position `base` of all texts.
    fn observe(&mut self, py: Python<'_>, texts: Texts, base: u64) -> PyResult<()> {
        let (offsets, width, data, first, count) = texts;
        let data = data.as_slice();
        let bounds = bounds(&offsets, width, first, count, data.len())?;
        let anchors = self.anchors.as_mut().ok_or_else(finished)?;
        py.detach(|| {
            for pair in bounds.windows(2) {
                let before = (pair[0] - bounds[0]) as u64;
                anchors.observe(&data[pair[0]..pair[1]], base + before);
            }
        });
        Ok(())
    }

    /// The bytes that are held.
    fn held(&self) -> PyResult<usize> {
        Ok(self.anchors.as_ref().ok_or_else(finished)?.held())
    }

    /// Ends the search: ranges (twice 8 bytes) in which all repeats lie, in order.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let anchors = self.anchors.take().ok_or_else(finished)?;
        let ranges = py.detach(|| flat(anchors.finish()));
        bytes_of!(py, ranges)
    }
}

/// A finder of repeats among one of `parts` parts of the hashes.
#[pyclass(module = "mithril._kernels")]
pub struct RepeatFinder {
    finder: Option<Repeats>,
}

#[pymethods]
impl RepeatFinder {
    #[new]
    fn new(length: usize, unit: usize, windows: usize, part: u32, parts: u32) -> PyResult<Self> {
        let finder = Repeats::new(length, unit, windows, part, parts).map_err(to_python)?;
        Ok(Self {
            finder: Some(finder),
        })
    }

    /// Looks for repeats in stretches (twice 8 bytes, in order) of all texts. `places` has the position of each text and
    /// the end of the last one (8 bytes each).
    fn search(
        &mut self,
        py: Python<'_>,
        text: Input,
        places: Input,
        stretches: Input,
    ) -> PyResult<()> {
        let places: Vec<u64> = values!(places, u64)?.collect();
        let stretches: Vec<u64> = values!(stretches, u64)?.collect();
        if !places.is_sorted() {
            return Err(PyValueError::new_err("the places are not in order"));
        }
        let finder = self.finder.as_mut().ok_or_else(finished)?;
        let (stretches, _) = stretches.as_chunks::<2>();
        py.detach(|| {
            stretches
                .iter()
                .try_for_each(|&[start, end]| finder.search(text.as_slice(), &places, start, end))
        })
        .map_err(to_python)
    }

    /// Ends the search: ranges (twice 8 bytes) of bytes that stand at an earlier position, too.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let finder = self.finder.take().ok_or_else(finished)?;
        let ranges = py.detach(|| flat(finder.finish()));
        bytes_of!(py, ranges)
    }
}

fn flat(ranges: Vec<(u64, u64)>) -> Vec<u64> {
    ranges.into_iter().flat_map(<[u64; 2]>::from).collect()
}

fn finished() -> PyErr {
    PyValueError::new_err("the search has been finished")
}

/// Texts without the given ranges: their offsets (8 bytes each) and their bytes.
type Cut<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

/// Cuts ranges (twice 8 bytes, in order, counted from the first byte of the first text) out of texts, each one moved
/// inwards to borders; units of more than a byte have no other borders. Gives the offsets of the texts that are left (8 bytes each), their bytes, and the ranges that
/// were cut: text, start and end within it (8 bytes each).
#[pyfunction]
pub fn cut_texts<'py>(
    py: Python<'py>,
    texts: Texts,
    ranges: Input,
    border: &str,
    unit: usize,
) -> PyResult<Cut<'py>> {
    let (offsets, width, data, first, count) = texts;
    let data = data.as_slice();
    let bounds = bounds(&offsets, width, first, count, data.len())?;
    let border = match unit {
        1 => Border::named(border).ok_or_else(|| {
            PyValueError::new_err(format!(
                "borders are those of a character, word or line, not of a {border:?}"
            ))
        })?,
        0 => return Err(PyValueError::new_err("a unit has at least a byte")),
        bytes => Border::Unit(bytes),
    };
    let ranges: Vec<u64> = values!(ranges, u64)?.collect();
    let (ranges, rest) = ranges.as_chunks::<2>();
    let ordered = ranges.windows(2).all(|pair| pair[0][1] <= pair[1][0]);
    if !rest.is_empty() || !ordered || ranges.iter().any(|range| range[0] > range[1]) {
        return Err(PyValueError::new_err("the ranges are not in order"));
    }
    let (ends, left, cuts) = py.detach(|| cut(data, &bounds, ranges, border));
    Ok((
        bytes_of!(py, ends)?,
        PyBytes::new(py, &left),
        bytes_of!(py, cuts)?,
    ))
}

fn cut(
    data: &[u8],
    bounds: &[usize],
    ranges: &[[u64; 2]],
    border: Border,
) -> (Vec<u64>, Vec<u8>, Vec<u64>) {
    let (mut ends, mut left, mut cuts) = (vec![0], Vec::new(), Vec::new());
    let mut next = 0;
    for (number, pair) in bounds.windows(2).enumerate() {
        let text = &data[pair[0]..pair[1]];
        let base = (pair[0] - bounds[0]) as u64;
        let end = base + text.len() as u64;
        let mut done = 0;
        while let Some(&[from, to]) = ranges.get(next).filter(|range| range[0] < end) {
            let local = |at: u64| usize::try_from(at.clamp(base, end) - base).unwrap_or(usize::MAX);
            if let Some((start, stop)) = border.within(text, local(from), local(to)) {
                left.extend_from_slice(&text[done..start]);
                cuts.extend([number as u64, start as u64, stop as u64]);
                done = stop;
            }
            // A range that reaches into the next text is looked at there once more.
            if to > end {
                break;
            }
            next += 1;
        }
        left.extend_from_slice(&text[done..]);
        ends.push(left.len() as u64);
    }
    (ends, left, cuts)
}

fn shingler(unit: &str, size: usize) -> PyResult<Shingler> {
    let unit = Unit::named(unit).ok_or_else(|| {
        PyValueError::new_err(format!(
            "n-grams are of words, characters, bytes or tokens, not of {unit:?}"
        ))
    })?;
    Shingler::new(unit, size).map_err(to_python)
}

/// The n-grams of texts: 8 bytes each.
#[pyfunction]
pub fn text_ngrams<'py>(
    py: Python<'py>,
    unit: &str,
    size: usize,
    folded: bool,
    texts: Texts,
) -> PyResult<Bound<'py, PyBytes>> {
    let (offsets, width, data, first, count) = texts;
    let data = data.as_slice();
    let bounds = bounds(&offsets, width, first, count, data.len())?;
    let mut shingler = shingler(unit, size)?;
    let grams: Vec<u64> = py.detach(|| {
        let mut grams = Vec::new();
        for pair in bounds.windows(2) {
            ngrams(
                form(folded),
                &mut shingler,
                &data[pair[0]..pair[1]],
                &mut grams,
            );
        }
        grams
    });
    bytes_of!(py, grams)
}

/// A set of n-grams (8 bytes each); several threads may ask it.
#[pyclass(frozen, module = "mithril._kernels")]
pub struct NgramSet {
    shingler: Shingler,
    folded: bool,
    grams: Ngrams,
}

#[pymethods]
impl NgramSet {
    #[new]
    fn new(py: Python<'_>, unit: &str, size: usize, folded: bool, grams: Input) -> PyResult<Self> {
        let grams: Vec<u64> = values!(grams, u64)?.collect();
        Ok(Self {
            shingler: shingler(unit, size)?,
            folded,
            grams: py.detach(|| Ngrams::new(grams)),
        })
    }

    /// The number of different n-grams.
    fn __len__(&self) -> usize {
        self.grams.len()
    }

    /// The number of n-grams of each text that are in the set: 4 bytes each.
    fn count<'py>(&self, py: Python<'py>, texts: Texts) -> PyResult<Bound<'py, PyBytes>> {
        let (offsets, width, data, first, count) = texts;
        let data = data.as_slice();
        let bounds = bounds(&offsets, width, first, count, data.len())?;
        let mut shingler = self.shingler.clone();
        let counts: Vec<u32> = py.detach(|| {
            let mut grams = Vec::new();
            let count = |pair: &[usize]| {
                grams.clear();
                let text = &data[pair[0]..pair[1]];
                ngrams(form(self.folded), &mut shingler, text, &mut grams);
                u32::try_from(self.grams.count(&grams)).unwrap_or(u32::MAX)
            };
            bounds.windows(2).map(count).collect()
        });
        bytes_of!(py, counts)
    }
}
