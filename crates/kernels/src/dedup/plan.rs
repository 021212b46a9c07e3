//! The choice of bands and rows for a threshold.

use crate::error::{KernelError, Result};

/// The largest number of values of a signature.
pub const VALUES_MAX: usize = 4096;

/// A division of a signature into bands of rows. Documents that agree on all rows of a band are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub bands: usize,
    pub rows: usize,
}

/// The probability that documents of a similarity agree on at least one band.
pub fn collision_probability(plan: Plan, similarity: f64) -> f64 {
    let band = similarity.powf(plan.rows as f64);
    1.0 - (1.0 - band).powf(plan.bands as f64)
}

impl Plan {
    pub fn new(bands: usize, rows: usize) -> Result<Self> {
        if bands == 0 || rows == 0 || bands.saturating_mul(rows) > VALUES_MAX {
            return Err(KernelError::Parameter("bands times rows are 1 to 4096"));
        }
        Ok(Self { bands, rows })
    }

    /// The plan of the most rows, so of the fewest needless comparisons, that still finds a share `recall` of the
    /// pairs at the threshold.
    pub fn choose(threshold: f64, values: usize, recall: f64) -> Result<Self> {
        if !(threshold > 0.0 && threshold <= 1.0) {
            return Err(KernelError::Parameter(
                "the threshold is above 0 and at most 1",
            ));
        }
        if !(recall > 0.0 && recall < 1.0) {
            return Err(KernelError::Parameter("the recall is between 0 and 1"));
        }
        if values == 0 || values > VALUES_MAX {
            return Err(KernelError::Parameter("a signature has 1 to 4096 values"));
        }
        let plans = (1..=values).map(|rows| Self {
            bands: values / rows,
            rows,
        });
        let found = plans
            .rev()
            .find(|&plan| collision_probability(plan, threshold) >= recall);
        Ok(found.unwrap_or(Self {
            bands: values,
            rows: 1,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_finds_the_share_asked_for_with_the_most_rows() {
        for threshold in [0.3, 0.5, 0.7, 0.8, 0.9, 0.95] {
            let plan = Plan::choose(threshold, 128, 0.98).expect("a plan");
            assert!(plan.bands * plan.rows <= 128);
            assert!(
                collision_probability(plan, threshold) >= 0.98,
                "{plan:?} at {threshold}"
            );
            let more = Plan {
                bands: 128 / (plan.rows + 1),
                rows: plan.rows + 1,
            };
            assert!(
                collision_probability(more, threshold) < 0.98,
                "{more:?} at {threshold}"
            );
        }
        assert_eq!(
            Plan::choose(0.7, 128, 0.98),
            Ok(Plan { bands: 25, rows: 5 })
        );
    }

    #[test]
    fn a_threshold_of_one_takes_the_whole_signature() {
        assert_eq!(
            Plan::choose(1.0, 128, 0.98),
            Ok(Plan {
                bands: 1,
                rows: 128
            })
        );
    }

    #[test]
    fn what_cannot_be_planned_is_refused() {
        assert!(Plan::choose(0.0, 128, 0.98).is_err());
        assert!(Plan::choose(f64::NAN, 128, 0.98).is_err());
        assert!(Plan::choose(0.5, 128, 1.0).is_err());
        assert!(Plan::choose(0.5, VALUES_MAX + 1, 0.5).is_err());
        assert!(Plan::new(usize::MAX, 2).is_err());
        assert!(Plan::new(2, 0).is_err());
        assert!(Plan::new(0, 2).is_err());
        assert!(Plan::new(VALUES_MAX, 2).is_err());
        assert_eq!(Plan::new(2, VALUES_MAX / 2).map(|plan| plan.rows), Ok(2048));
    }
}
