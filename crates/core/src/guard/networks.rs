//! The operator's exceptions.

use std::net::IpAddr;

use ipnet::IpNet;

use super::AddressKind;

/// The operator's exceptions: networks that callbacks may reach although they are not public.
///
/// A network covers all that lies in it but for the metadata services of clouds. Of these each has to be named by itself,
/// as a network of one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNetworks {
    networks: Vec<IpNet>,
    is_everything: bool,
}

impl AllowedNetworks {
    /// Exceptions for these networks; none at all if the list is empty.
    #[must_use]
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self { networks, is_everything: false }
    }

    /// Every address there is, metadata services included. Never for addresses that somebody else can choose.
    #[must_use]
    pub const fn everything() -> Self {
        Self { networks: Vec::new(), is_everything: true }
    }

    /// Whether one of the networks has this address. An IPv4-mapped address is not taken for its IPv4 address here.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.is_everything || self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether this very address is one of the networks.
    pub(super) fn names(&self, address: IpAddr) -> bool {
        self.is_everything || self.networks.contains(&IpNet::from(address))
    }

    /// Whether an address that is special in this way may be reached.
    pub(super) fn permits(&self, address: IpAddr, kind: AddressKind) -> bool {
        match kind {
            AddressKind::Metadata => self.names(address),
            _ => self.contains(address),
        }
    }

    /// Whether there is no exception.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.is_everything
    }
}
