//! Asks a running pipeline through its control port.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::answers::{ErrorAnswer, ExchangeAnswer, ResnapshotAnswer, StatusAnswer};
use super::{CONSENT, ORIGIN, PIPELINE, SETTINGS, TABLE};

/// A swap of a component that has to be compiled first takes seconds at most, a batch up to its deadline.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A pipeline and where it listens.
pub struct Client {
    pub address: SocketAddr,
    pub pipeline: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Nothing listens there, or it speaks something else.
    #[error("{0}")]
    Nobody(String),
    /// Another pipeline has the port.
    #[error("{0}")]
    Another(String),
    /// What was sent cannot be used: a component that does not fit.
    #[error("{0}")]
    Unfit(String),
    /// The pipeline did not do it.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    pub async fn status(&self) -> Result<StatusAnswer, Unanswered> {
        self.ask(Method::GET, "/status", &[], Vec::new()).await
    }

    pub async fn pause(&self) -> Result<StatusAnswer, Unanswered> {
        self.ask(Method::POST, "/pause", &[], Vec::new()).await
    }

    pub async fn resume(&self) -> Result<StatusAnswer, Unanswered> {
        self.ask(Method::POST, "/resume", &[], Vec::new()).await
    }

    /// `settings`: none for the active rule's.
    pub async fn swap(
        &self,
        component: Vec<u8>,
        origin: &str,
        settings: Option<&[(String, String)]>,
    ) -> Result<ExchangeAnswer, Unanswered> {
        let mut headers = vec![(ORIGIN, origin.to_owned())];
        if let Some(settings) = settings {
            let object: serde_json::Map<_, _> =
                settings.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
            headers.push((SETTINGS, serde_json::Value::Object(object).to_string()));
        }
        self.ask(Method::POST, "/swap", &headers, component).await
    }

    pub async fn rollback(&self) -> Result<ExchangeAnswer, Unanswered> {
        self.ask(Method::POST, "/rollback", &[], Vec::new()).await
    }

    /// Answered when the source has taken it up.
    pub async fn resnapshot(&self, table: &str) -> Result<ResnapshotAnswer, Unanswered> {
        self.ask(Method::POST, "/resnapshot", &[(TABLE, table.to_owned())], Vec::new()).await
    }

    /// Whether anybody listens at the address.
    pub async fn is_anybody_there(&self) -> bool {
        TcpStream::connect(self.address).await.is_ok()
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<T, Unanswered> {
        let nobody = |error: &dyn std::fmt::Display| {
            Unanswered::Nobody(format!(
                "no pipeline answers at the control port {}: {error}. Is `hindsight run` running? Name the address in \
                 [control] listen, or with --control",
                self.address
            ))
        };
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.address.to_string());
        request = request.header(CONSENT, "1").header(PIPELINE, &self.pipeline);
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
                Unanswered::Unfit(format!(
                    "{value:?} cannot be sent: it holds a line break or another control character"
                ))
            })?;
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| nobody(&error))?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.send(request));
        let (code, body) = match answer.await {
            Ok(answer) => answer.map_err(|error| nobody(&error))?,
            Err(_) => return Err(nobody(&format!("nothing came within {ANSWER_TIMEOUT:?}"))),
        };
        if code.is_success() {
            return serde_json::from_slice(&body).map_err(|error| nobody(&error));
        }
        let error = match serde_json::from_slice(&body) {
            Ok(ErrorAnswer { error }) => error,
            Err(_) => format!("{code} {}", String::from_utf8_lossy(&body)),
        };
        Err(match code {
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
                Unanswered::Unfit(error)
            }
            StatusCode::MISDIRECTED_REQUEST => Unanswered::Another(error),
            StatusCode::NOT_FOUND => nobody(&"something else listens there"),
            _ => Unanswered::Refused(error),
        })
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let code = response.status();
        Ok((code, response.into_body().collect().await?.to_bytes()))
    }
}
