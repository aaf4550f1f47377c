//! Requests of a client that shows a certificate, over connections that no other client gets.

use std::{fmt, sync::Arc, time::Duration};

use hookcast_core::callback_auth::{ClientTls, Refused};
use rustls::RootCertStore;

use super::kept::{Digest, Kept};
use crate::client::{pool::Pool, tls};

/// How many clients with a certificate are ready at the same time. Another one costs a new TLS handshake.
const IDENTITIES_MAX: usize = 1024;

/// How long one stays ready that nothing uses.
const IDENTITY_IDLE: Duration = Duration::from_secs(5 * 60);

/// Who Hookcast is to a callback that asks for a certificate. Cheap to make and to clone: keys are read at the first request.
#[derive(Clone)]
pub struct TlsIdentity(Arc<(Digest, ClientTls)>);

impl TlsIdentity {
    /// The one that shows this certificate; [`check_client_tls`](crate::client::check_client_tls) tells whether it can be used.
    #[must_use]
    pub fn new(tls: ClientTls) -> Self {
        Self(Arc::new((tls.digest(), tls)))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity(…)")
    }
}

/// The clients of those identities that are in use.
#[derive(Debug)]
pub(in crate::client) struct Identities {
    roots: Arc<RootCertStore>,
    /// How to connect.
    pool: Pool,
    pools: Kept<Pool>,
}

impl Identities {
    /// None so far. Each will connect as `pool` does, and trust at least `roots`.
    pub(in crate::client) fn new(roots: Arc<RootCertStore>, pool: Pool) -> Self {
        Self { roots, pool, pools: Kept::new(IDENTITIES_MAX, IDENTITY_IDLE) }
    }

    /// The connections of this identity.
    pub(in crate::client) fn pool(&self, identity: &TlsIdentity) -> Result<Pool, Refused> {
        let (digest, tls) = &*identity.0;
        self.pools.get_or_make(*digest, || {
            let config = tls::identified(&self.roots, tls)?;
            Ok(self.pool.with_tls(config))
        })
    }
}
