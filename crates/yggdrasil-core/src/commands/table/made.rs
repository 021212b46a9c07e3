//! Values that a command makes and that no key or argument holds.

use std::cell::OnceCell;

/// Keeps bytes where they are as long as the command runs, so that its changes can name them.
#[derive(Debug, Default)]
pub struct Made(OnceCell<Box<(Vec<u8>, Made)>>);

impl Made {
    pub fn keep(&self, bytes: Vec<u8>) -> &[u8] {
        let mut last = self;
        while let Some(kept) = last.0.get() {
            last = &kept.1;
        }
        &last.0.get_or_init(|| Box::new((bytes, Self::default()))).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_where_it_is() {
        let made = Made::default();
        let kept = ["a", "", "ccc"].map(|text| made.keep(text.into()));
        assert_eq!(kept, [&b"a"[..], b"", b"ccc"]);
    }
}
