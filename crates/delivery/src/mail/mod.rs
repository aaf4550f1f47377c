//! Mails to people, over SMTP (RFC 5321).
//!
//! There is to be at most one mail for a notice, and whether a mail was taken is not always known. So [`MailError`] tells what
//! was certainly not sent from what perhaps was. The line between them is the moment from which on the server has the mail's
//! text.

mod error;
mod letter;
mod server;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hookcast_core::{clock::Timestamp, notice::Notice};
use lettre::{
    Address, Message,
    transport::smtp::{
        self,
        authentication::DEFAULT_MECHANISMS,
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};

pub use error::MailError;
pub use letter::{notice_mail, parse_mailbox, test_mail};
pub use lettre::message::Mailbox;
pub use server::{InvalidMailServer, MailServer};

use crate::client::{ClientError, authorities};

/// How long the farewell may take, after which nothing depends on the server any more.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a [`Mailer`] is made from.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// The server that takes the mails.
    pub server: MailServer,
    /// Who they are from. The name is what the service is called in them.
    pub from: Mailbox,
    /// Whether nothing is sent, the password least of all, without encryption.
    pub requires_tls: bool,
    /// A PEM file with certificates of authorities that are trusted besides the public ones.
    pub extra_authorities: Option<PathBuf>,
    /// The time for everything up to the mail's text, and again for the text and the server's answer to it.
    pub timeout: Duration,
}

/// Sends mails, each over a connection of its own: notices are rare.
#[derive(Clone)]
pub struct Mailer {
    server: MailServer,
    from: Mailbox,
    security: Security,
    timeout: Duration,
}

/// How a connection is kept from others.
#[derive(Clone)]
enum Security {
    /// TLS from the first byte on.
    Wrapped(TlsParameters),
    /// TLS after the greeting, and nothing without it.
    StartTls(TlsParameters),
    /// Not at all.
    None,
}

impl Mailer {
    /// A mailer, which has not connected so far.
    ///
    /// # Errors
    /// The file of extra authorities cannot be read, or has no certificate or an unusable one.
    pub fn new(settings: MailSettings) -> Result<Self, ClientError> {
        let MailSettings { server, from, requires_tls, extra_authorities, timeout } = settings;
        let tls = trust(server.host(), extra_authorities.as_deref())?;
        let security = match (server.is_wrapped(), requires_tls) {
            (true, _) => Security::Wrapped(tls),
            (false, true) => Security::StartTls(tls),
            (false, false) => Security::None,
        };
        Ok(Self { server, from, security, timeout })
    }

    /// The server that takes its mails.
    #[must_use]
    pub const fn server(&self) -> &MailServer {
        &self.server
    }

    /// Tells of a notice.
    ///
    /// # Errors
    /// Whether the mail was certainly not sent, was refused, or perhaps was sent.
    pub async fn send_notice(&self, notice: &Notice, to: &str) -> Result<(), MailError> {
        self.send(&notice_mail(notice, to, &self.from)?).await
    }

    /// Sends a mail that only shows that mails arrive. `id` makes it another one than those before.
    ///
    /// # Errors
    /// As those of [`Mailer::send_notice`].
    pub async fn send_test(&self, to: &str, id: &str, time: Timestamp) -> Result<(), MailError> {
        self.send(&test_mail(to, &self.from, id, time)?).await
    }

    async fn send(&self, mail: &Message) -> Result<(), MailError> {
        let late = || format!("there was no answer within {:?}", self.timeout);
        let announced = async {
            let mut connection = self.connect().await?;
            announce(&mut connection, mail).await?;
            Ok(connection)
        };
        let announced = tokio::time::timeout(self.timeout, announced).await;
        let mut connection = announced.unwrap_or_else(|_| Err(MailError::NotSent(late())))?;

        let text = mail.formatted();
        let sent = tokio::time::timeout(self.timeout, connection.message(&text)).await;
        sent.map_err(|_| MailError::PerhapsSent(late()))?.map_err(|error| MailError::sending(&error))?;
        let _ = tokio::time::timeout(FAREWELL, connection.abort()).await;
        Ok(())
    }

    /// A connection over which the server takes mails from us.
    async fn connect(&self) -> Result<AsyncSmtpConnection, MailError> {
        let name = ClientId::default();
        let wrapped = match &self.security {
            Security::Wrapped(tls) => Some(tls.clone()),
            Security::StartTls(_) | Security::None => None,
        };
        let address = (self.server.host(), self.server.port());
        let connection = AsyncSmtpConnection::connect_tokio1(address, None, &name, wrapped, None).await;
        let mut connection = connection.map_err(|error| MailError::connecting(&error))?;
        if let Security::StartTls(tls) = &self.security {
            if !connection.can_starttls() {
                return Err(MailError::NotSent("the server offers no encryption (STARTTLS)".to_owned()));
            }
            connection.starttls(tls.clone(), &name).await.map_err(|error| MailError::connecting(&error))?;
        }
        if let Some(credentials) = self.server.credentials() {
            let welcome = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            welcome.map_err(|error| MailError::logging_in(&error))?;
        }
        Ok(connection)
    }
}

/// What a server of this name must prove: it is vouched for by the public authorities that browsers trust, or by those of the
/// PEM file.
fn trust(host: &str, extra_authorities: Option<&Path>) -> Result<TlsParameters, ClientError> {
    let failed = |error: smtp::Error| ClientError::Tls(rustls::Error::General(error.to_string()));
    let mut tls = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::WebpkiRoots);
    for certificate in extra_authorities.map(authorities).transpose()?.unwrap_or_default() {
        tls = tls.add_root_certificate(Certificate::from_der(certificate.to_vec()).map_err(failed)?);
    }
    tls.build().map_err(failed)
}

/// Tells the server of a mail, up to where it asks for the text.
async fn announce(connection: &mut AsyncSmtpConnection, mail: &Message) -> Result<(), MailError> {
    let envelope = mail.envelope();
    let mut parameters = Vec::new();
    let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    if !envelope.from().into_iter().chain(envelope.to()).all(is_ascii) {
        // RFC 6531, section 3.1: a server that takes such addresses takes their letters in the text as well.
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(MailError::Refused("the server takes no address with letters beyond ASCII".to_owned()));
        }
        parameters = vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)];
    }
    // Who may not send at all is told so here, and the next mail would fare no better: it is no matter of this one.
    let sender = connection.command(Mail::new(envelope.from().cloned(), parameters)).await;
    sender.map_err(|error| MailError::connecting(&error))?;
    for recipient in envelope.to() {
        let recipient = connection.command(Rcpt::new(recipient.clone(), Vec::new())).await;
        recipient.map_err(|error| MailError::announcing(&error))?;
    }
    connection.command(Data).await.map_err(|error| MailError::announcing(&error))?;
    Ok(())
}
