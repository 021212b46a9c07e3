//! The choice of vector instructions, made once.

use std::sync::LazyLock;

/// Widths of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Width {
    Scalar,
    Avx2,
    Avx512,
}

/// The widest instructions that may be used. All levels give the same bytes.
///
/// A value exists only for what this processor has. ARM has no gather, and a table is what decoding waits for: there
/// the scalar code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(Width);

static BEST: LazyLock<Width> = LazyLock::new(detect);

impl Level {
    /// The best level of this processor.
    pub fn best() -> Self {
        Self(*BEST)
    }

    /// The levels that this processor can run.
    pub fn available() -> impl Iterator<Item = Self> {
        [Width::Scalar, Width::Avx2, Width::Avx512]
            .into_iter()
            .filter(|&width| width <= *BEST)
            .map(Self)
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            Width::Scalar => "scalar",
            Width::Avx2 => "avx2",
            Width::Avx512 => "avx512",
        }
    }

    pub(crate) fn width(self) -> Width {
        self.0
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Width {
    let narrow = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt");
    let wide = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2");
    match (narrow, wide) {
        (true, true) => Width::Avx512,
        (true, false) => Width::Avx2,
        (false, _) => Width::Scalar,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Width {
    Width::Scalar
}

/// Compiles a function for each level, and calls the one that was chosen.
macro_rules! for_each_level {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident $(<$($generic:ident : $bound:ident),+>)? (
        $($argument:ident : $type:ty),* $(,)?
    ) = $body:path) => {
        $(#[$doc])*
        #[allow(unsafe_code)]
        $visibility fn $name $(<$($generic: $bound),+>)? (level: $crate::simd::Level, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
                fn avx2 $(<$($generic: $bound),+>)? ($($argument: $type),*) {
                    $body $(::<$($generic),+>)? ($($argument),*);
                }
                #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2")]
                fn avx512 $(<$($generic: $bound),+>)? ($($argument: $type),*) {
                    $body $(::<$($generic),+>)? ($($argument),*);
                }
                match level.width() {
                    // SAFETY: a level is only ever one that `detect` has found on this processor, or a lower one.
                    $crate::simd::Width::Avx512 => return unsafe { avx512 $(::<$($generic),+>)? ($($argument),*) },
                    // SAFETY: as above.
                    $crate::simd::Width::Avx2 => return unsafe { avx2 $(::<$($generic),+>)? ($($argument),*) },
                    $crate::simd::Width::Scalar => {}
                }
            }
            let _ = level;
            $body $(::<$($generic),+>)? ($($argument),*);
        }
    };
}
pub(crate) use for_each_level;
