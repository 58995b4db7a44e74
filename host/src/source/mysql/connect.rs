//! One connection to a server: its address, TLS, and what a failure to connect means.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::{Conn, DriverError, Error, IoError, Opts, OptsBuilder, SslOpts};

/// How long a server may take to answer a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// `source.tls`, with the meanings of the `mysql` client's `--ssl-mode`. Its VERIFY_CA is not here: with rustls the client
/// library cannot check who signed a certificate without checking for which host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Disabled,
    /// Encrypted where the server offers it; plain on the loopback interface.
    Preferred,
    Required,
    /// Signed by `tls-ca`, or by a public authority, and made out for the host of the address.
    VerifyIdentity,
}

impl Tls {
    pub const ALL: [Tls; 4] = [Tls::Disabled, Tls::Preferred, Tls::Required, Tls::VerifyIdentity];

    pub fn name(self) -> &'static str {
        match self {
            Tls::Disabled => "disabled",
            Tls::Preferred => "preferred",
            Tls::Required => "required",
            Tls::VerifyIdentity => "verify-identity",
        }
    }
}

/// A server of `source.url`.
#[derive(Clone)]
pub struct Server {
    opts: Opts,
    tls: Tls,
    /// `host:port`, for messages: the address without its secrets.
    pub name: String,
}

/// Why a server cannot be used now.
#[derive(Debug)]
pub enum Unusable {
    /// It is not there, or going away: worth another try.
    Away(String),
    /// It answered, and will answer the same again: a right, a setting, a password.
    Refused(String),
    /// It lacks transactions that were read: a replica that is behind may get them.
    Behind(String),
}

impl Unusable {
    pub fn text(&self) -> &str {
        match self {
            Unusable::Away(text) | Unusable::Refused(text) | Unusable::Behind(text) => text,
        }
    }
}

impl Server {
    /// `url`: `mysql://user:password@host:port`. `tls_ca`: a PEM file, for [`Tls::VerifyIdentity`].
    ///
    /// # Errors
    /// The address is none. The text names no part of it: it may hold a password.
    pub fn parse(url: &str, tls: Tls, tls_ca: Option<&Path>) -> Result<Self, String> {
        let opts = Opts::from_url(url).map_err(|_| {
            "an address of source.url cannot be read: it is mysql://user:password@host:port; \
             letters of the password such as @ : / ? # % are written as %40 %3A %2F %3F %23 %25"
                .to_owned()
        })?;
        let name = format!("{}:{}", opts.ip_or_hostname(), opts.tcp_port());
        // It would else look for the server's socket file behind a local address.
        let builder = OptsBuilder::from_opts(opts).prefer_socket(false).tcp_keepalive(Some(Duration::from_secs(30)));
        let ssl = match tls {
            Tls::Disabled => None,
            Tls::Preferred | Tls::Required => {
                Some(SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true))
            }
            Tls::VerifyIdentity => Some(verifying(tls_ca)),
        };
        Ok(Server { opts: builder.ssl_opts(ssl).into(), tls, name })
    }

    /// # Errors
    /// See [`Unusable`]; each text names the server.
    pub async fn connect(&self) -> Result<Conn, Unusable> {
        let plain = || Opts::from(OptsBuilder::from_opts(self.opts.clone()).ssl_opts(None));
        let preferred = self.tls == Tls::Preferred;
        let opts = if preferred && self.opts.addr_is_loopback() { plain() } else { self.opts.clone() };
        match self.try_connect(opts).await {
            Err(Error::Driver(DriverError::NoClientSslFlagFromServer)) if preferred => {
                self.try_connect(plain()).await.map_err(|error| self.unusable(&error))
            }
            tried => tried.map_err(|error| self.unusable(&error)),
        }
    }

    async fn try_connect(&self, opts: Opts) -> Result<Conn, Error> {
        let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer in {CONNECT_MAX:?}"));
        tokio::time::timeout(CONNECT_MAX, Conn::new(opts)).await.unwrap_or_else(|_| Err(Error::Io(IoError::Io(late()))))
    }

    /// What an error of a connection, or of a statement on one, means.
    pub fn unusable(&self, error: &Error) -> Unusable {
        let name = &self.name;
        match error {
            Error::Server(server) => match server.code {
                1045 | 1044 | 1142 | 1227 | 1698 | 3118 | 3955 => Unusable::Refused(format!(
                    "source {name} refuses the account of source.url: {}. Check its user and password, and its rights: \
                     it needs REPLICATION SLAVE, REPLICATION CLIENT",
                    server.message
                )),
                _ => Unusable::Away(format!("source {name}: {} (error {})", server.message, server.code)),
            },
            Error::Driver(DriverError::NoClientSslFlagFromServer) => Unusable::Refused(format!(
                "source {name} offers no TLS, and source.tls is \"{}\". Give the server a certificate (ssl_cert, ssl_key), \
                 or write tls = \"preferred\"",
                self.tls.name()
            )),
            Error::Io(IoError::Tls(error)) => self.tls_failed(&error.to_string()),
            Error::Io(IoError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.tls_failed(&error.to_string())
            }
            Error::Io(IoError::Io(error)) => Unusable::Away(format!("source {name} is not reached: {error}")),
            Error::Driver(DriverError::UnknownAuthPlugin { name: plugin }) => Unusable::Refused(format!(
                "source {name} wants the account to prove itself by {plugin}, which is not known here. \
                 Run there: ALTER USER … IDENTIFIED WITH caching_sha2_password BY '…'"
            )),
            other => Unusable::Away(format!("source {name}: {other}")),
        }
    }

    fn tls_failed(&self, reason: &str) -> Unusable {
        Unusable::Refused(format!(
            "source {} cannot be trusted under source.tls = \"{}\": {reason}. Name the authority that signed its certificate \
             in tls-ca, connect by the name that the certificate is made out for, or choose a weaker tls",
            self.name,
            self.tls.name()
        ))
    }
}

fn verifying(tls_ca: Option<&Path>) -> SslOpts {
    match tls_ca {
        Some(path) => {
            SslOpts::default().with_root_certs(vec![PathBuf::from(path).into()]).with_disable_built_in_roots(true)
        }
        None => SslOpts::default(),
    }
}
