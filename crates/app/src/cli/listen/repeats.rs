//! Which ids have arrived before.

use std::collections::{HashMap, VecDeque};

/// So many ids are remembered.
const REMEMBERED: usize = 10_000;

/// Counts how often an id arrives. The oldest are forgotten.
#[derive(Debug, Default)]
pub struct Repeats {
    times: HashMap<String, u64>,
    order: VecDeque<String>,
}

impl Repeats {
    /// Counts once more; answers how often it has been by now.
    pub fn count(&mut self, id: &str) -> u64 {
        if let Some(times) = self.times.get_mut(id) {
            *times += 1;
            return *times;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.times.remove(&oldest);
        }
        self.order.push_back(id.to_owned());
        self.times.insert(id.to_owned(), 1);
        1
    }
}

/// `2nd`, `3rd`, `4th`.
pub fn ordinal(number: u64) -> String {
    let suffix = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_counted_and_the_oldest_forgotten() {
        let mut repeats = Repeats::default();
        assert_eq!([repeats.count("a"), repeats.count("b"), repeats.count("a")], [1, 1, 2]);
        for number in 0..REMEMBERED {
            repeats.count(&number.to_string());
        }
        assert_eq!(repeats.count("a"), 1);
        assert_eq!((repeats.times.len(), repeats.order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn ordinals() {
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal).join(" "),
            "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th"
        );
    }
}
