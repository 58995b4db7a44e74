//! A request as StarRocks wants it: a body only after `100 Continue`, redirects followed with everything that was sent.
//!
//! A frontend answers a load with a redirect before it has read any of its body, and expects the very same request, its
//! Authorization included, where the redirect says. Each request has a connection of its own: a frontend ends it anyway.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{AUTHORIZATION, CONNECTION, EXPECT, HOST, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::crash;

/// From a follower to the leader, and from there to a backend.
const REDIRECTS_MAX: usize = 2;

const CONNECT_MAX: Duration = Duration::from_secs(5);

/// StarRocks' own SDK waits as long.
const CONTINUE_MAX: Duration = Duration::from_secs(10);

/// Of an answer: the longest are lists of transactions.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Address {
    type Err = ();

    /// `host:port`, an IPv6 address in brackets.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let is_bare = !host.is_empty() && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')));
        if !is_bare || host.contains(['/', '@', '?', '#']) {
            return Err(());
        }
        Ok(Address { host: host.to_owned(), port: port.parse().map_err(drop)? })
    }
}

/// What is asked of a frontend.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    /// With its query.
    pub path: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Sent once the server says that it wants it.
    pub body: Option<Bytes>,
    /// Of the answer, behind the last byte that was sent.
    pub answer_max: Duration,
}

/// The last answer, behind all redirects.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
    pub from: Address,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The server that has to do it was not reached, or has not said that it wants the body: none of it was sent.
    #[error("{0}")]
    Unsent(String),
    /// What was sent may have been done.
    #[error("{0}")]
    InDoubt(String),
    /// A redirect leads where nothing may be sent.
    #[error("{0}")]
    Astray(String),
}

/// Who asks, and where what they know may be sent.
#[derive(Clone)]
pub struct Access {
    authorization: HeaderValue,
    /// Hosts that a redirect may lead to, as they are named there.
    pub hosts: Vec<String>,
    /// How long a body waits for its `100 Continue`. A server that is slower than that would be sent a body that it never reads.
    pub continue_max: Duration,
    /// The host that is gone to in place of a redirect's, its port kept: where the servers name themselves by addresses that
    /// cannot be reached from here, as a container does.
    pub redirect_host: Option<String>,
}

impl Access {
    pub fn new(user: &str, password: &str, hosts: Vec<String>, redirect_host: Option<String>) -> Self {
        let pair = BASE64.encode(format!("{user}:{password}"));
        let mut authorization = HeaderValue::from_str(&format!("Basic {pair}")).expect("base64 is a header's text");
        authorization.set_sensitive(true);
        Access { authorization, hosts, continue_max: CONTINUE_MAX, redirect_host }
    }

    /// Asks a frontend, and whom it names in its stead.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(&self, frontend: &Address, call: &Call) -> Result<Answer, Unanswered> {
        let (mut to, mut path) = (frontend.clone(), call.path.clone());
        for _ in 0..=REDIRECTS_MAX {
            let (answer, location) = self.ask_one(&to, &path, call).await?;
            if answer.status != StatusCode::TEMPORARY_REDIRECT {
                return Ok(answer);
            }
            let Some(location) = location else {
                return Err(Unanswered::Astray(format!("{to} redirects without saying where")));
            };
            (to, path) = self.redirected(&to, &location)?;
        }
        // As while the leader changes; nothing was done yet.
        Err(Unanswered::Unsent(format!(
            "more than {REDIRECTS_MAX} redirects, the last one to {to}: do the frontends know their leader?"
        )))
    }

    /// What a server says at an address that it has named itself; none where it does not.
    pub async fn read(&self, url: &str, answer_max: Duration) -> Option<String> {
        let (to, path) = self.allowed(url).ok()?;
        let call = Call { method: Method::GET, path: path.clone(), headers: Vec::new(), body: None, answer_max };
        let (answer, _) = self.ask_one(&to, &path, &call).await.ok()?;
        (answer.status == StatusCode::OK).then(|| String::from_utf8_lossy(&answer.body).into_owned())
    }

    fn redirected(&self, from: &Address, location: &str) -> Result<(Address, String), Unanswered> {
        self.allowed(location).map_err(|why| Unanswered::Astray(format!("{from} redirects to {location}: {why}")))
    }

    /// Where an address leads, if what we know may be sent there.
    fn allowed(&self, url: &str) -> Result<(Address, String), &'static str> {
        let rest = url.strip_prefix("http://").ok_or("it is no http:// address")?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        // Some releases put the user there; it is said in a header again.
        let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
        let mut to: Address = authority.parse().map_err(|()| "it has no host and port")?;
        if let Some(host) = &self.redirect_host {
            host.clone_into(&mut to.host);
        } else if !self.hosts.contains(&to.host) {
            return Err(
                "the cluster does not name this host as one of its own (SHOW FRONTENDS, SHOW BACKENDS), so it is not told the \
                 password. If it is one, and is reached from here by another name, set sink.redirect-host",
            );
        }
        Ok((to, path.to_owned()))
    }

    async fn ask_one(&self, to: &Address, path: &str, call: &Call) -> Result<(Answer, Option<String>), Unanswered> {
        let unsent = |why: &dyn fmt::Display| Unanswered::Unsent(format!("{to}: {why}"));
        let connecting = timeout(CONNECT_MAX, TcpStream::connect((to.host.trim_matches(['[', ']']), to.port)));
        let stream = match connecting.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unsent(&error)),
            Err(_) => return Err(unsent(&format_args!("no connection within {} s", CONNECT_MAX.as_secs()))),
        };
        // Small requests are not to wait for company.
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| unsent(&error))?;
        let connection = Ended(tokio::spawn(connection));
        let (body, sent, released) = HeldBody::of(call.body.clone());
        let mut request = Request::new(body);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = path.parse().map_err(|error| unsent(&error))?;
        let headers = request.headers_mut();
        headers.extend(call.headers.iter().cloned());
        headers.insert(HOST, HeaderValue::from_str(&to.to_string()).map_err(|error| unsent(&error))?);
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(release) = released {
            headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
            let release = Mutex::new(Some(release));
            hyper::ext::on_informational(&mut request, move |said| {
                if said.status() == StatusCode::CONTINUE
                    && let Some(release) = release.lock().ok().and_then(|mut release| release.take())
                {
                    crash::point("starrocks.continued");
                    let _ = release.send(());
                }
            });
        }
        let has_sent = || sent.load(Ordering::Relaxed);
        // Once the connection has ended nothing is sent any more, and it is certain whether anything was. Without a body the
        // request is out with its head.
        let failed = async |connection: Ended, why: String| {
            connection.end().await;
            match call.body.is_some() && !has_sent() {
                true => Unanswered::Unsent(why),
                false => Unanswered::InDoubt(why),
            }
        };
        let answering = sender.send_request(request);
        tokio::pin!(answering);
        let mut answered = timeout(self.continue_max, &mut answering).await;
        if answered.is_err() && (call.body.is_none() || has_sent()) {
            answered = timeout(call.answer_max.saturating_sub(self.continue_max), &mut answering).await;
        }
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(failed(connection, format!("{to}: {error}")).await),
            Err(_) if call.body.is_some() && !has_sent() => {
                let max = self.continue_max.as_secs_f32();
                return Err(failed(connection, format!("{to} has not asked for the rows within {max} s")).await);
            }
            Err(_) => {
                let max = call.answer_max.as_secs();
                return Err(failed(connection, format!("{to} has not answered within {max} s")).await);
            }
        };
        let (head, body) = response.into_parts();
        let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = match timeout(call.answer_max, Limited::new(body, ANSWER_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            // Where to go is in the head.
            _ if head.status == StatusCode::TEMPORARY_REDIRECT => Bytes::new(),
            Ok(Err(error)) => return Err(failed(connection, format!("{to}: the answer broke off: {error}")).await),
            Err(_) => {
                let max = call.answer_max.as_secs();
                return Err(failed(connection, format!("{to}: the answer did not end within {max} s")).await);
            }
        };
        drop(connection);
        Ok((Answer { status: head.status, body, from: to.clone() }, location))
    }
}

/// A connection's task, which ends with whoever asked: nothing is sent behind their back.
struct Ended(tokio::task::JoinHandle<hyper::Result<()>>);

impl Ended {
    async fn end(mut self) {
        self.0.abort();
        // That it was ended is no fault.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether a body waits.
enum Hold {
    No,
    Until(oneshot::Receiver<()>),
    /// It was answered before it was asked for.
    ForEver,
}

/// Bytes that are sent once somebody says so.
struct HeldBody {
    bytes: Option<Bytes>,
    hold: Hold,
    sent: Arc<AtomicBool>,
}

impl HeldBody {
    /// The body, whether it was taken to be sent, and what releases it.
    fn of(bytes: Option<Bytes>) -> (Self, Arc<AtomicBool>, Option<oneshot::Sender<()>>) {
        let sent = Arc::default();
        let (release, hold) = match bytes {
            Some(_) => {
                let (release, released) = oneshot::channel();
                (Some(release), Hold::Until(released))
            }
            None => (None, Hold::No),
        };
        (HeldBody { bytes, hold, sent: Arc::clone(&sent) }, sent, release)
    }
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Hold::Until(released) = &mut self.hold {
            match Pin::new(released).poll(context) {
                Poll::Ready(Ok(())) => self.hold = Hold::No,
                Poll::Ready(Err(_)) => self.hold = Hold::ForEver,
                Poll::Pending => {}
            }
        }
        if !matches!(self.hold, Hold::No) {
            return Poll::Pending;
        }
        let Some(mut bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if self.sent.swap(true, Ordering::Relaxed) {
            crash::point("starrocks.sending");
        } else if bytes.len() > 1 {
            // In two: so there is a moment in which a part of it is sent.
            let rest = bytes.split_off(bytes.len() / 2);
            self.bytes = Some(rest);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}
