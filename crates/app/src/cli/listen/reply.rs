//! What a delivery is answered, before anybody looks at it.

use http::StatusCode;

/// The answers of a receiver that plays a bad one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// So many deliveries are answered with `failure`.
    failures: u64,
    failure: StatusCode,
    /// All later ones with this; `None` leaves it to whoever handles them.
    afterwards: Option<StatusCode>,
}

impl Plan {
    /// `--fail` and `--status`: the status is meant for the failures if there are any, or else for everything.
    pub fn new(fail: Option<u64>, status: Option<StatusCode>) -> Self {
        match fail {
            Some(failures) => {
                Self { failures, failure: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), afterwards: None }
            }
            None => Self { failures: 0, failure: StatusCode::INTERNAL_SERVER_ERROR, afterwards: status },
        }
    }

    /// The answer to the delivery of this number, counted from 1.
    pub fn answer_to(self, number: u64) -> Option<StatusCode> {
        if number <= self.failures { Some(self.failure) } else { self.afterwards }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_for_the_failures_or_for_everything() {
        let answers = |fail, status| [1, 2, 3].map(|number| Plan::new(fail, status).answer_to(number));
        let (error, busy) = (Some(StatusCode::INTERNAL_SERVER_ERROR), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(answers(None, None), [None, None, None]);
        assert_eq!(answers(Some(2), None), [error, error, None]);
        assert_eq!(answers(Some(2), busy), [busy, busy, None]);
        assert_eq!(answers(None, busy), [busy, busy, busy]);
    }
}
