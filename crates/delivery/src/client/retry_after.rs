//! The `Retry-After` header (RFC 9110, section 10.2.3).

use std::time::Duration;

use hookcast_core::{
    clock::{Clock, Timestamp},
    delivery::RETRY_AFTER_MAX,
};
use http::{HeaderMap, header};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The pause that an answer asks for, at most [`RETRY_AFTER_MAX`], or `None` if it asks for nothing understandable.
pub(super) fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let pause = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        http_date(value)?.since(clock.now())
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

/// Reads a date in any of the three forms of RFC 9110, section 5.6.7. The day of the week is not checked.
fn http_date(text: &str) -> Option<Timestamp> {
    let mut parts = text.split([' ', ',', '-']).filter(|part| !part.is_empty()).skip(1);
    let [a, b, c, d] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let (day, month, year, time) = match (parts.next(), parts.next()) {
        // `Sun, 06 Nov 1994 08:49:37 GMT` and `Sunday, 06-Nov-94 08:49:37 GMT`
        (Some("GMT"), None) => (a, b, c, d),
        // `Sun Nov  6 08:49:37 1994`
        (None, None) => (b, a, d, c),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let day: u8 = day.parse().ok()?;
    let year: u16 = match (year.len(), year.parse().ok()?) {
        (2, year @ 70..) => 1900 + year,
        (2, year) => 2000 + year,
        (_, year) => year,
    };
    Timestamp::parse(&format!("{year:04}-{month:02}-{day:02}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(Timestamp);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    fn asked(value: &'static str) -> Option<Duration> {
        let now = Fixed(Timestamp::parse("1994-11-06T08:49:00Z").unwrap());
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, http::HeaderValue::from_static(value))]);
        retry_after(&headers, &now)
    }

    #[test]
    fn seconds() {
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("0"), Some(Duration::ZERO));
        assert_eq!(asked("99999999999999999999999999"), Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn dates_in_all_three_forms() {
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(asked(date), Some(Duration::from_secs(37)), "{date}");
        }
        assert_eq!(asked("Sun, 06 Nov 1994 08:48:59 GMT"), Some(Duration::ZERO), "the past");
        assert_eq!(asked("Wednesday, 01-Jan-25 00:00:00 GMT"), Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn what_is_neither_asks_for_nothing() {
        for value in ["", "-1", "+1", "1.5", "soon", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET"] {
            assert_eq!(asked(value), None, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), &Fixed(Timestamp::default())), None);
    }
}
