//! Repeats within texts, and n-grams that texts share with others.

use mithril_kernels::dedup::{Border, Ngrams, Repeats, Shingler, Unit, ngrams};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Input;
use crate::dedup::form;
use crate::errors::to_python;
use crate::values::{bounds, bytes_of, values};

/// Texts of an Arrow array: offsets, their width, data, the first text and the number of texts.
type Texts = (Input, usize, Input, usize, usize);

/// A finder of repeats among one of `parts` parts of the hashes.
#[pyclass(module = "mithril._kernels")]
pub struct RepeatFinder {
    finder: Option<Repeats>,
}

#[pymethods]
impl RepeatFinder {
    #[new]
    fn new(length: usize, text_bytes: u64, part: u32, parts: u32) -> PyResult<Self> {
        let finder = Repeats::new(length, text_bytes, part, parts).map_err(to_python)?;
        Ok(Self {
            finder: Some(finder),
        })
    }

    /// Remembers the windows of texts.
    fn observe(&mut self, py: Python<'_>, texts: Texts) -> PyResult<()> {
        let (offsets, width, data, first, count) = texts;
        let data = data.as_slice();
        let bounds = bounds(&offsets, width, first, count, data.len())?;
        let finder = self.finder()?;
        py.detach(|| {
            for pair in bounds.windows(2) {
                finder.observe(&data[pair[0]..pair[1]]);
            }
        });
        Ok(())
    }

    /// Collects windows that were met twice. The first byte of the first text is at position `base` of all texts.
    fn collect(&mut self, py: Python<'_>, texts: Texts, base: u64) -> PyResult<()> {
        let (offsets, width, data, first, count) = texts;
        let data = data.as_slice();
        let bounds = bounds(&offsets, width, first, count, data.len())?;
        let finder = self.finder()?;
        py.detach(|| {
            for pair in bounds.windows(2) {
                let before = (pair[0] - bounds[0]) as u64;
                finder.collect(&data[pair[0]..pair[1]], base + before);
            }
        });
        Ok(())
    }

    /// The bytes that are held.
    fn held(&mut self) -> PyResult<usize> {
        Ok(self.finder()?.held())
    }

    /// Ends the search: ranges (twice 8 bytes) of bytes that stand at an earlier position, too.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let finder = self.finder.take().ok_or_else(finished)?;
        let ranges: Vec<u64> = py.detach(|| {
            finder
                .finish()
                .into_iter()
                .flat_map(<[u64; 2]>::from)
                .collect()
        });
        bytes_of!(py, ranges)
    }
}

impl RepeatFinder {
    fn finder(&mut self) -> PyResult<&mut Repeats> {
        self.finder.as_mut().ok_or_else(finished)
    }
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
/// inwards to borders. Gives the offsets of the texts that are left (8 bytes each), their bytes, and the ranges that
/// were cut: text, start and end within it (8 bytes each).
#[pyfunction]
pub fn cut_texts<'py>(
    py: Python<'py>,
    texts: Texts,
    ranges: Input,
    border: &str,
) -> PyResult<Cut<'py>> {
    let (offsets, width, data, first, count) = texts;
    let data = data.as_slice();
    let bounds = bounds(&offsets, width, first, count, data.len())?;
    let border = Border::named(border).ok_or_else(|| {
        PyValueError::new_err(format!(
            "borders are those of a character, word or line, not of a {border:?}"
        ))
    })?;
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
            "n-grams are of words, characters or bytes, not of {unit:?}"
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
