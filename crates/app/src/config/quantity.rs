//! Durations and sizes as people write them: a whole number and a unit, `15s` or `64MiB`.

use std::time::Duration;

/// A unit's name and how many of the smallest unit it is, largest first.
type Units = [(&'static str, u64)];

const TIMES: &Units = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: &Units = &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1), ("", 1)];

/// Reads a duration: `250ms`, `5s`, `10m`, `24h`, `5d`, or `0`.
///
/// One number and one unit: `1h30m` and `1.5h` are `None`, so that each length has few spellings. Also `None` is what
/// does not fit into 64 bits of milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    parse(text, TIMES).map(Duration::from_millis)
}

/// Reads a size in bytes: `512`, `512B`, `64KiB`, `1MiB`, `10GiB`, `1TiB`.
///
/// Decimal units (`10GB`) are `None`: half of those who write them mean the binary ones.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    parse(text, SIZES)
}

/// Writes a duration in the largest unit that says it in a whole number. What is below a millisecond is cut off.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let unit = TIMES.iter().find(|(_, factor)| millis != 0 && millis.is_multiple_of(u128::from(*factor)));
    unit.map_or_else(|| "0".to_owned(), |(name, factor)| format!("{}{name}", millis / u128::from(*factor)))
}

/// Writes a size in the largest unit that says it in a whole number.
pub(super) fn show_size(bytes: u64) -> String {
    let unit = SIZES.iter().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor));
    unit.map_or_else(|| "0".to_owned(), |(name, factor)| format!("{}{name}", bytes / factor))
}

fn parse(text: &str, units: &Units) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in
            [("0", 0), ("0s", 0), ("250ms", 250), ("5s", 5_000), ("10m", 600_000), ("5d", 432_000_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "00", "s", "-5s", "+5s", "5 s", "1.5s", "1h30m", "5S", "5w", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(parse_duration(&format!("{}d", u64::MAX)), None);
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("512", 512), ("512B", 512), ("64KiB", 65_536), ("500MiB", 524_288_000)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "B", "10GB", "10 GiB", "1.5MiB", "-1", "1kib", "99999999TiB", "18446744073709551616"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0..u64::MAX, bytes in 0..u64::MAX) {
            let duration = Duration::from_millis(millis);
            proptest::prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
            proptest::prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            parse_duration(&text);
            parse_size(&text);
        }
    }

    #[test]
    fn shown_in_the_largest_whole_unit() {
        let shown = [0, 250, 90_000, 86_400_000].map(|ms| show_duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["0", "250ms", "90s", "1d"]);
        assert_eq!([0, 1_000, 1 << 20, 3 << 30].map(show_size), ["0", "1000B", "1MiB", "3GiB"]);
    }
}
