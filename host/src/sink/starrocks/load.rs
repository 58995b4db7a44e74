//! Loads by the transaction interface: begun, sent once, committed; and what became of a label.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, HeaderName, HeaderValue};
use lz4_flex::frame::FrameEncoder;

use super::http::{Access, Address, Answer, Call, Unanswered};
use super::reply::{self, LabelState, Rejection, Reply, Step};

/// The server ends a transaction that is open for longer.
const TRANSACTION_MAX: Duration = Duration::from_secs(600);

/// Until a question without rows is answered.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The table that is loaded into, and by whom.
#[derive(Clone)]
pub struct Target {
    pub frontends: Vec<Address>,
    pub access: Access,
    pub database: String,
    pub table: String,
    pub compression: Compression,
    /// Column by which a row replaces only one that is not newer.
    pub sequence: Option<String>,
    /// Of a load's last byte until it is committed.
    pub load_max: Duration,
}

/// How rows are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    None,
    Lz4Frame,
    Zstd,
}

/// Loads into one table.
pub struct Loader {
    target: Target,
    /// Which frontend answered last.
    frontend: AtomicUsize,
}

impl Loader {
    pub fn new(target: Target) -> Self {
        Loader { target, frontend: AtomicUsize::new(0) }
    }

    pub(super) fn load_max(&self) -> Duration {
        self.target.load_max
    }

    /// Begins a transaction under a label that nobody has used.
    pub async fn begin(&self, label: &str) -> Reply {
        let timeout = header_value(&TRANSACTION_MAX.as_secs().to_string());
        let headers = vec![(HeaderName::from_static("timeout"), timeout)];
        let asked = self.ask(self.step("begin", label, headers, None, ANSWER_MAX), false).await;
        // Begun or not, nothing was sent under it, and it is not used again.
        self.understood(Step::Begin, asked, Reply::NotNow)
    }

    /// Sends rows, as [`super::rows::RowWriter`] writes them, to be committed by [`Loader::commit`].
    pub async fn load(&self, label: &str, rows: Bytes) -> Reply {
        let mut headers: Vec<(HeaderName, HeaderValue)> = [
            ("format", "json"),
            ("strip_outer_array", "true"),
            ("ignore_json_size", "true"),
            // A value that does not fit is refused, not made NULL.
            ("strict_mode", "true"),
            ("max_filter_ratio", "0"),
        ]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into();
        if let Some(sequence) = &self.target.sequence {
            headers.push((HeaderName::from_static("merge_condition"), header_value(sequence)));
        }
        let rows = match self.target.compression {
            Compression::None => rows,
            Compression::Lz4Frame => {
                headers.push((CONTENT_ENCODING, HeaderValue::from_static("lz4_frame")));
                let mut packed = FrameEncoder::new(Vec::new());
                packed.write_all(&rows).expect("compress in memory");
                packed.finish().expect("compress in memory").into()
            }
            Compression::Zstd => {
                headers.push((CONTENT_ENCODING, HeaderValue::from_static("zstd")));
                zstd::bulk::compress(&rows, 1).expect("compress in memory").into()
            }
        };
        let asked = self.ask(self.step("load", label, headers, Some(rows), self.target.load_max), false).await;
        self.understood(Step::Load, asked, Reply::Ask)
    }

    /// Commits what was sent, and waits until it is visible.
    pub async fn commit(&self, label: &str) -> Reply {
        let asked = self.ask(self.step("commit", label, Vec::new(), None, self.target.load_max), true).await;
        self.understood(Step::Commit, asked, Reply::Ask)
    }

    /// Ends a transaction without its rows: by the transaction interface, and where that does not know it any more, by its label.
    pub async fn roll_back(&self, label: &str) -> Reply {
        let asked = self.ask(self.step("rollback", label, Vec::new(), None, ANSWER_MAX), true).await;
        match self.understood(Step::Rollback, asked, Reply::Ask) {
            Reply::Done => Reply::Done,
            // A backend that was started again has forgotten it.
            _ => {
                let path = format!("/api/{}/{label}/_cancel", self.target.database);
                let call = Call { method: Method::POST, path, headers: Vec::new(), body: None, answer_max: ANSWER_MAX };
                let asked = self.ask(call, true).await;
                self.understood(Step::Rollback, asked, Reply::Ask)
            }
        }
    }

    /// What became of a label; the leader answers.
    pub async fn state(&self, label: &str) -> LabelState {
        let path = format!("/api/{}/get_load_state?label={label}", self.target.database);
        let call = Call { method: Method::GET, path, headers: Vec::new(), body: None, answer_max: ANSWER_MAX };
        match self.ask(call, true).await {
            Ok(answer) => reply::state(&answer),
            Err(unanswered) => LabelState::Unanswered(unanswered.to_string()),
        }
    }

    /// Whether each frontend is there.
    pub async fn health(&self) -> Vec<(Address, Result<(), String>)> {
        let mut found = Vec::new();
        for frontend in &self.target.frontends {
            let path = "/api/health".to_owned();
            let call = Call { method: Method::GET, path, headers: Vec::new(), body: None, answer_max: ANSWER_MAX };
            let answer = match self.target.access.ask(frontend, &call).await {
                Ok(answer) if answer.status.is_success() => Ok(()),
                Ok(answer) => Err(format!("it answers {}", answer.status)),
                Err(unanswered) => Err(unanswered.to_string()),
            };
            found.push((frontend.clone(), answer));
        }
        found
    }

    /// Why rows were not taken, as far as the backend tells: its first lines.
    pub async fn reasons(&self, rejection: &Rejection) -> String {
        const LINES_MAX: usize = 3;
        let told = match &rejection.error_url {
            Some(url) => self.target.access.read(url, ANSWER_MAX).await.unwrap_or_default(),
            None => String::new(),
        };
        let lines: Vec<&str> = told.lines().take(LINES_MAX).collect();
        match lines.as_slice() {
            [] => rejection.message.clone(),
            lines => format!("{}: {}", rejection.message, lines.join("; ")),
        }
    }

    fn step(
        &self,
        step: &str,
        label: &str,
        mut headers: Vec<(HeaderName, HeaderValue)>,
        body: Option<Bytes>,
        answer_max: Duration,
    ) -> Call {
        let Target { database, table, .. } = &self.target;
        for (name, value) in [("db", database.as_str()), ("table", table), ("label", label)] {
            headers.push((HeaderName::from_static(name), header_value(value)));
        }
        let method = if body.is_some() { Method::PUT } else { Method::POST };
        Call { method, path: format!("/api/transaction/{step}"), headers, body, answer_max }
    }

    /// Asks the frontend that answered last, and where nothing was sent to it, the others; `again`: also where it may have been
    /// done already.
    async fn ask(&self, call: Call, again: bool) -> Result<Answer, Unanswered> {
        let n = self.target.frontends.len();
        let first = self.frontend.load(Ordering::Relaxed);
        let mut last = Unanswered::Unsent("there is no frontend".into());
        for frontend in (first..first + n).map(|number| number % n) {
            match self.target.access.ask(&self.target.frontends[frontend], &call).await {
                Ok(answer) => {
                    self.frontend.store(frontend, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(unanswered @ Unanswered::Unsent(_)) => last = unanswered,
                Err(unanswered @ Unanswered::InDoubt(_)) if again => last = unanswered,
                Err(unanswered) => return Err(unanswered),
            }
        }
        Err(last)
    }

    fn understood(
        &self,
        step: Step,
        asked: Result<Answer, Unanswered>,
        in_doubt: impl FnOnce(String) -> Reply,
    ) -> Reply {
        match asked {
            Ok(answer) => reply::understand(step, &answer),
            Err(Unanswered::Astray(why)) => Reply::Stop(why),
            Err(Unanswered::Unsent(why) | Unanswered::InDoubt(why)) => in_doubt(why),
        }
    }
}

/// Names and labels are checked where they are configured and made.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
