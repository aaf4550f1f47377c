//! All that the operator says about where callbacks may go.

use std::ops::RangeInclusive;

use super::AllowedNetworks;

/// Where callbacks may go, beyond what is refused to everybody. The default is what suits a service on the public internet.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The networks that may be reached although they are not public.
    pub networks: AllowedNetworks,
    /// Whether `http` is refused.
    pub https_only: bool,
    /// The ports that may be called.
    pub ports: AllowedPorts,
}

/// The ports that callbacks may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedPorts {
    /// All but those that other protocols own, as browsers have it.
    #[default]
    Usual,
    /// These, whatever usually belongs there.
    Only(Vec<RangeInclusive<u16>>),
    /// All.
    Everything,
}

/// A rule that a URL breaks; completes "the URL".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleBroken {
    /// `http` where only `https` will do.
    #[error("must begin with `https://`; nothing else is allowed here")]
    HttpsOnly,
    /// A port that is known for another protocol.
    #[error("has port {0}, which belongs to another protocol than HTTP; use a port that is meant for HTTP")]
    ForeignPort(u16),
    /// A port that is not among those that the operator allows.
    #[error("has port {0}; use one that the operator allows")]
    UnlistedPort(u16),
}

impl Rules {
    /// Everything may be called. Never for URLs that somebody else can choose.
    #[must_use]
    pub fn unguarded() -> Self {
        Self { networks: AllowedNetworks::everything(), https_only: false, ports: AllowedPorts::Everything }
    }

    /// Judges what a URL says beside its host: whether it is `https`, and its port.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn check(&self, is_https: bool, port: u16) -> Result<(), RuleBroken> {
        if self.https_only && !is_https {
            return Err(RuleBroken::HttpsOnly);
        }
        match &self.ports {
            AllowedPorts::Usual if FOREIGN_PORTS.contains(&port) => Err(RuleBroken::ForeignPort(port)),
            AllowedPorts::Only(ranges) if !ranges.iter().any(|range| range.contains(&port)) => {
                Err(RuleBroken::UnlistedPort(port))
            }
            _ => Ok(()),
        }
    }
}

/// The ports that the Fetch standard calls bad: services there take a request for words of their own protocol.
const FOREIGN_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
    5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ports(ports: AllowedPorts) -> Rules {
        Rules { ports, ..Rules::default() }
    }

    #[test]
    fn ports_of_other_protocols_are_refused_unless_listed() {
        for port in [0, 22, 25, 53, 143, 389, 587, 993, 2049, 5060, 6000, 6667, 10080] {
            let refusal = Err(RuleBroken::ForeignPort(port));
            assert_eq!(Rules::default().check(true, port), refusal, "{port}");
            assert_eq!(with_ports(AllowedPorts::Only(vec![port..=port])).check(true, port), Ok(()), "{port}");
            assert_eq!(Rules::unguarded().check(false, port), Ok(()), "{port}");
        }
        for port in [24, 80, 81, 443, 3000, 8000, 8080, 8443, 10079, 10081, 65535] {
            assert_eq!(Rules::default().check(false, port), Ok(()), "{port}");
        }
    }

    #[test]
    fn of_listed_ports_the_bounds_are_a_part() {
        let rules = with_ports(AllowedPorts::Only(vec![443..=443, 8000..=8010]));
        let verdicts = [443, 8000, 8010, 80, 442, 444, 7999, 8011].map(|port| rules.check(true, port).is_ok());
        assert_eq!(verdicts, [true, true, true, false, false, false, false, false]);
        assert_eq!(rules.check(true, 80), Err(RuleBroken::UnlistedPort(80)));
    }

    #[test]
    fn https_may_be_demanded() {
        let rules = Rules { https_only: true, ..Rules::default() };
        assert_eq!(rules.check(true, 443), Ok(()));
        assert_eq!(rules.check(false, 443), Err(RuleBroken::HttpsOnly));
        assert_eq!(Rules::default().check(false, 443), Ok(()));
    }
}
