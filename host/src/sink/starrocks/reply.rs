//! What an answer of StarRocks means for the load that it is about: nothing else looks at one.
//!
//! Status 200 says nothing, and releases differ in their words. So only what is known to be success is success; a refusal
//! says no more than that somebody has to ask what became of the label.

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::http::Answer;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Begin,
    Load,
    Commit,
    Rollback,
}

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done; a commit: its rows are visible.
    Done,
    /// It is committed, and its rows will be visible: nothing may be sent again.
    Later,
    /// What became of the label has to be asked.
    Ask(String),
    /// It was refused as it is now; nothing of it is there, and the same is tried again after a while.
    NotNow(String),
    /// It was refused because of the rows.
    Rejected(Rejection),
    /// It will not be different the next time: somebody has to do something.
    Stop(String),
}

/// Rows that were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub message: String,
    /// Where the backend tells which rows, and why.
    pub error_url: Option<String>,
}

/// What became of a label, as the leader says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelState {
    Visible,
    /// Committed, and not visible yet.
    Committed,
    /// Begun, or prepared: it may become anything.
    Open,
    /// It never will be applied.
    Aborted(String),
    /// Never begun, begun and forgotten with its leader, or forgotten as old.
    Unknown,
    /// The leader did not say.
    Unanswered(String),
}

/// Words of messages by which the server says that it has too much to do.
const NOT_NOW: [&str; 8] = [
    "too many versions",
    "Too many versions",
    "current running txns on db",
    "http cuncurrent limit",
    "http concurrent limit",
    "Service is shutting down",
    "No backend alive",
    "exceed limit usage",
];

/// Of those that stay until somebody does something.
const FOR_SOMEBODY: [&str; 6] =
    ["Access denied", "unknown table", "unknown database", "Unknown database", "does not exist", "exceeds quota"];

/// Of rows that were not taken.
const OF_ROWS: [&str; 2] = ["too many filtered rows", "primary key size exceed the limit"];

/// What an answer to a step says.
pub fn understand(step: Step, answer: &Answer) -> Reply {
    let from = &answer.from;
    if answer.status == StatusCode::UNAUTHORIZED {
        return Reply::Stop(format!(
            "{from} refuses the user or the password, or the user may not INSERT into the table: {}",
            short(&answer.body)
        ));
    }
    let Some(object) = object(&answer.body).filter(|_| answer.status == StatusCode::OK) else {
        return Reply::Ask(format!("{from} answers {}: {}", answer.status.as_u16(), short(&answer.body)));
    };
    let text = |names: [&str; 3]| names.iter().find_map(|name| object.get(*name)?.as_str()).unwrap_or_default();
    let (status, message) = (text(["Status", "status", "code"]), text(["Message", "msg", "message"]));
    let said = || format!("{from}: {status}{}{message}", if message.is_empty() { "" } else { ": " });
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match (step, status) {
        // Said of a commit that was asked for twice: whether its rows can be read it does not say.
        (Step::Commit, "OK") if has(&["already committed"]) => Reply::Later,
        (_, "OK" | "Success") => Reply::Done,
        (Step::Commit, "PUBLISH_TIMEOUT" | "Publish Timeout") => Reply::Later,
        (Step::Begin, "LABEL_ALREADY_EXISTS" | "Label Already Exists") => Reply::Stop(format!(
            "{}: a label that this process has just made up is there already; does another pipeline of this name load into the \
             database?",
            said()
        )),
        _ if has(&NOT_NOW) => Reply::NotNow(said()),
        _ if has(&FOR_SOMEBODY) => Reply::Stop(said()),
        (Step::Load | Step::Commit, _) if has(&OF_ROWS) => {
            let error_url = object.get("ErrorURL").and_then(Value::as_str).map(str::to_owned);
            Reply::Rejected(Rejection { message: message.to_owned(), error_url })
        }
        // Nothing was sent under it.
        (Step::Begin, _) => Reply::NotNow(said()),
        _ => Reply::Ask(said()),
    }
}

/// What an answer to the question for a label's state says.
pub fn state(answer: &Answer) -> LabelState {
    let unanswered = || {
        LabelState::Unanswered(format!("{} answers {}: {}", answer.from, answer.status.as_u16(), short(&answer.body)))
    };
    let Some(object) = object(&answer.body).filter(|_| answer.status == StatusCode::OK) else { return unanswered() };
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    if text("status") != Some("OK") {
        return unanswered();
    }
    match text("state") {
        Some("VISIBLE") => LabelState::Visible,
        Some("COMMITTED") => LabelState::Committed,
        Some("PREPARE" | "PREPARED") => LabelState::Open,
        Some("ABORTED") => LabelState::Aborted(text("reason").unwrap_or_default().to_owned()),
        Some("UNKNOWN") => LabelState::Unknown,
        _ => unanswered(),
    }
}

fn object(body: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

/// An answer that is not understood, for a message.
fn short(body: &[u8]) -> String {
    const SHOWN: usize = 300;
    let text = String::from_utf8_lossy(body);
    let shown: String =
        text.trim().chars().take(SHOWN).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if shown.is_empty() { "nothing".into() } else { shown }
}

#[cfg(test)]
mod tests {
    use hyper::body::Bytes;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            from: "fe:8030".parse().unwrap(),
        }
    }

    /// Each form that a release was read to answer with, and what it makes us do.
    #[test]
    fn every_answer_has_its_meaning() {
        for (step, status, body, wanted) in [
            (Step::Begin, 200, r#"{"Status":"OK","Message":"","Label":"l","TxnId":7}"#, "done"),
            (Step::Load, 200, r#"{"Status": "OK", "Message": "", "LoadBytes": 9}"#, "done"),
            (Step::Commit, 200, r#"{"Status":"OK","NumberLoadedRows":9}"#, "done"),
            (Step::Commit, 200, r#"{"Status":"Success","Message":"OK"}"#, "done"),
            (
                Step::Commit,
                200,
                r#"{"Status":"OK","Message":"Transaction 7 has already committed, label is l"}"#,
                "later",
            ),
            (Step::Commit, 200, r#"{"Status":"PUBLISH_TIMEOUT","Message":""}"#, "later"),
            (
                Step::Commit,
                200,
                r#"{"Status":"Publish Timeout","Message":"Publish timeout. The data will be visible"}"#,
                "later",
            ),
            // Committed all the same: only the label's state says so.
            (Step::Commit, 200, r#"{"Status":"FAILED","Message":"publish timeout: 20000"}"#, "ask"),
            (Step::Commit, 200, r#"{"Status":"FAILED","Message":"class com.starrocks.common.DdlException: x"}"#, "ask"),
            (Step::Commit, 200, r#"{"status":"FAILED","code":"1","msg":"no","message":"no"}"#, "ask"),
            (
                Step::Commit,
                200,
                r#"{"Status":"Fail","Message":"Commit transaction fail cause x, Transaction status unknown"}"#,
                "ask",
            ),
            (Step::Commit, 200, r#"{"Status":"TXN_NOT_EXISTS"}"#, "ask"),
            (Step::Commit, 200, r#"{"Status":"TXN_IN_PROCESSING"}"#, "ask"),
            (Step::Load, 200, r#"{"Status":"ABORTED","Message":"current transaction is aborted"}"#, "ask"),
            (Step::Commit, 500, "", "ask"),
            (Step::Commit, 502, "<html>Bad Gateway</html>", "ask"),
            (Step::Commit, 200, r#"{"Status":"OK","Mess"#, "ask"),
            (Step::Commit, 200, "OK", "ask"),
            (Step::Commit, 200, r#"{"Message":"OK"}"#, "ask"),
            (
                Step::Commit,
                200,
                r#"{"Status":"INTERNAL_ERROR","Message":"too many filtered rows","ErrorURL":"http://be/x"}"#,
                "rejected",
            ),
            (Step::Load, 200, r#"{"Status":"Fail","Message":"too many filtered rows"}"#, "rejected"),
            (
                Step::Commit,
                200,
                r#"{"Status":"Fail","Message":"Failed to load data into tablet 1, because of too many versions, current/limit: 1001/1000."}"#,
                "not now",
            ),
            (
                Step::Begin,
                200,
                r#"{"Status":"ANALYSIS_ERROR","Message":"current running txns on db 1 is 1000, larger than limit 1000"}"#,
                "not now",
            ),
            (
                Step::Begin,
                200,
                r#"{"Status":"FAILED","Message":"class com.starrocks.common.DdlException: No backend alive."}"#,
                "not now",
            ),
            (Step::Begin, 200, r#"{"Status":"INTERNAL_ERROR","Message":"?"}"#, "not now"),
            (Step::Begin, 200, r#"{"Status":"LABEL_ALREADY_EXISTS","ExistingJobStatus":"RUNNING"}"#, "stop"),
            (Step::Begin, 200, r#"{"Status":"ANALYSIS_ERROR","Message":"unknown table \"db.t\""}"#, "stop"),
            (Step::Begin, 401, r#"{"status":"FAILED","msg":"Access denied"}"#, "stop"),
            (Step::Load, 200, r#"{"Status":"Fail","Message":"database 7 data size exceeds quota"}"#, "stop"),
            (Step::Rollback, 200, r#"{"Status":"OK","Message":"Transaction 7 has already aborted"}"#, "done"),
            (Step::Rollback, 200, r#"{"Status":"FAILED","Message":"Can not abort VISIBLE transaction 7"}"#, "ask"),
        ] {
            let found = match understand(step, &answer(status, body)) {
                Reply::Done => "done",
                Reply::Later => "later",
                Reply::Ask(_) => "ask",
                Reply::NotNow(_) => "not now",
                Reply::Rejected(_) => "rejected",
                Reply::Stop(_) => "stop",
            };
            assert_eq!(found, wanted, "{step:?} {status} {body}");
        }
    }

    #[test]
    fn only_a_leaders_word_is_a_state() {
        let ok = |state: &str| format!(r#"{{"state":"{state}","reason":"why","status":"OK","code":"0"}}"#);
        for (body, wanted) in [
            (ok("VISIBLE"), LabelState::Visible),
            (ok("COMMITTED"), LabelState::Committed),
            (ok("PREPARE"), LabelState::Open),
            (ok("PREPARED"), LabelState::Open),
            (ok("ABORTED"), LabelState::Aborted("why".into())),
            (ok("UNKNOWN"), LabelState::Unknown),
        ] {
            assert_eq!(state(&answer(200, &body)), wanted);
        }
        for (status, body) in [
            (500, ok("UNKNOWN")),
            (200, r#"{"status":"FAILED","msg":"unknown db"}"#.into()),
            (200, ok("?")),
            (200, "".into()),
        ] {
            assert!(matches!(state(&answer(status, &body)), LabelState::Unanswered(_)), "{status} {body}");
        }
    }
}
