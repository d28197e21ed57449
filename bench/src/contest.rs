//! Contenders that do the same work, in turn (A B A B …), so that a machine that grows slower is slower for all of them.
//!
//! Knows no particular work. What would surprise: no ratio is told when a contender's own runs differ too much, since it would
//! say more of the machine than of the contender.

use crate::measured::{Figures, measure_apart};
use serde::Serialize;
use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Wall times of a contender may lie so far apart, as a share of their median.
const SCATTER: f64 = 0.5;

/// Somebody who does the work.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) command: Vec<OsString>,
    /// Beside the first contender: what the ratio of wall times, this one by that, shall be.
    pub(crate) goal: Option<Goal>,
}

/// What a ratio shall be.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// What a contender took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Score {
    pub(crate) name: String,
    pub(crate) runs: Vec<Figures>,
    /// Wall time by that of the first contender; none if either scatters.
    pub(crate) ratio: Option<f64>,
    pub(crate) goal: Option<Goal>,
}

impl Goal {
    pub(crate) fn is_reached(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
        }
    }
}

pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len() % 2 == 1 { numbers[middle] } else { f64::midpoint(numbers[middle - 1], numbers[middle]) }
}

impl Score {
    fn walls(&self) -> Vec<f64> {
        self.runs.iter().map(|run| run.wall_s).collect()
    }

    pub(crate) fn wall_s(&self) -> f64 {
        median(self.walls())
    }

    pub(crate) fn range_s(&self) -> (f64, f64) {
        self.walls().iter().fold((f64::MAX, 0.0), |(least, most), wall| (least.min(*wall), most.max(*wall)))
    }

    pub(crate) fn cpu_s(&self) -> f64 {
        median(self.runs.iter().map(|run| run.cpu_s).collect())
    }

    pub(crate) fn peak_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.peak_bytes).max().unwrap_or(0)
    }

    pub(crate) fn scatters(&self) -> bool {
        let (least, most) = self.range_s();
        most - least > SCATTER * self.wall_s()
    }
}

/// Lets all of them do it so many times, after once for warming up.
pub(crate) fn run(contenders: &[Contender], runs: usize, folder: &Path) -> io::Result<Vec<Score>> {
    let mut scores: Vec<Score> = contenders
        .iter()
        .map(|one| Score { name: one.name.clone(), runs: Vec::new(), ratio: None, goal: one.goal })
        .collect();
    for round in 0..=runs {
        for (contender, score) in contenders.iter().zip(&mut scores) {
            let figures = measure_apart(&contender.command, folder)?;
            if round > 0 {
                score.runs.push(figures);
            }
        }
    }
    let Some(first) = scores.first().cloned() else { return Ok(scores) };
    for score in &mut scores {
        let steady = !score.scatters() && !first.scatters();
        score.ratio = steady.then(|| score.wall_s() / first.wall_s());
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(walls: &[f64]) -> Score {
        let runs = walls.iter().map(|wall_s| Figures { wall_s: *wall_s, cpu_s: 0.0, peak_bytes: 0 }).collect();
        Score { name: String::new(), runs, ratio: None, goal: None }
    }

    #[test]
    fn runs_that_lie_far_apart_scatter() {
        assert!(!score(&[1.0, 1.2, 1.4]).scatters());
        assert!(score(&[1.0, 1.2, 1.7]).scatters());
        assert_eq!((score(&[3.0, 1.0, 2.0]).wall_s(), score(&[4.0, 1.0, 2.0, 3.0]).wall_s()), (2.0, 2.5));
    }

    #[test]
    fn a_goal_is_a_bound() {
        assert!(Goal::AtLeast(8.0).is_reached(8.5) && !Goal::AtLeast(8.0).is_reached(7.9));
        assert!(Goal::AtMost(2.0).is_reached(2.0) && !Goal::AtMost(2.0).is_reached(2.1));
    }
}
