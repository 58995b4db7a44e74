//! One HTTP call: its log entry, its fault, and what faults do around any call, whatever it is.

use std::io;
use std::time::Duration;

use crate::actions;
use crate::cluster::State;
use crate::faults::{Asked, BadReply, Fault, Outage, Turn};
use crate::http::{Connection, Next, Reply, Request, basic_authorization};
use crate::log::Entry;
use crate::stand::Stand;
use crate::view::locked;

/// A node, by its kind and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Fe(usize),
    Be(usize),
    Mysql(usize),
}

impl Name {
    pub fn text(self) -> String {
        match self {
            Name::Fe(n) => format!("fe{n}"),
            Name::Be(n) => format!("be{n}"),
            Name::Mysql(n) => format!("mysql{n}"),
        }
    }
}

pub struct Call {
    pub node: Name,
    pub entry: Entry,
    pub fault: Option<Fault>,
}

/// How a call ends.
#[derive(Debug)]
pub enum Answer {
    Reply(Reply),
    /// The client is gone, or nothing shall be said.
    Close,
    Reset,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Answer::Reply(reply)
    }
}

impl Call {
    pub fn new(node: Name, endpoint: &str) -> Self {
        let entry = Entry { node: node.text(), endpoint: endpoint.to_owned(), ..Entry::default() };
        Call { node, entry, fault: None }
    }

    /// Looks for a fault. `operation`: its name, where this node carries it out.
    pub fn pick(&mut self, stand: &Stand, operation: Option<&str>) {
        let asked = Asked { node: &self.entry.node, hop: &self.entry.endpoint, operation, label: &self.entry.label };
        self.fault = locked(&stand.faults).pick(&asked);
        self.entry.fault = self.fault.as_ref().map(Fault::name);
    }

    /// What a fault does before the call is handled; an answer ends the call.
    pub async fn before(&mut self, stand: &Stand, connection: &mut Connection) -> Option<Answer> {
        match self.fault.clone()? {
            Fault::Unavailable { how } => return Some(outage(how, connection).await),
            Fault::Delay { delay_ms } | Fault::SlowRedirect { delay_ms } => pause(delay_ms).await,
            Fault::LeaderSwitch { to, turn: Turn::Before } => actions::switch_leader(stand, to).await,
            Fault::BeRestart { turn: Turn::Before } => self.restart_backend(stand),
            Fault::TxnTimedOut => self.time_out(stand),
            _ => {}
        }
        None
    }

    /// What a fault does afterwards, then the log, then the reply.
    pub async fn finish(mut self, stand: &Stand, connection: &mut Connection, answer: Answer) -> io::Result<Next> {
        match &self.fault {
            Some(Fault::LeaderSwitch { to, turn: Turn::After }) => actions::switch_leader(stand, *to).await,
            Some(Fault::BeRestart { turn: Turn::After }) => self.restart_backend(stand),
            Some(Fault::ForgetLabel) => {
                let _ = stand.update(|cluster| cluster.forget_label(&self.entry.database, &self.entry.label));
            }
            Some(Fault::SlowBe { reply_delay_ms, .. }) => pause(*reply_delay_ms).await,
            _ => {}
        }
        let answer = if self.fault == Some(Fault::LoseReply) { Answer::Reset } else { answer };
        if let Answer::Reply(reply) = &answer {
            self.entry.http = reply.status;
            let member =
                |name: &str, other: &str| reply.member(name).or_else(|| reply.member(other)).unwrap_or_default();
            self.entry.status = if reply.status == 307 { "redirect".into() } else { member("Status", "status") };
            self.entry.message = member("Message", "msg");
        }
        let fault = self.fault.clone();
        stand.record(self.entry);
        match answer {
            Answer::Close => Ok(Next::Close),
            Answer::Reset => Ok(Next::Reset),
            Answer::Reply(reply) => match fault {
                Some(Fault::BadReply { how }) => spoiled(&reply, how, connection).await,
                _ => connection.reply(&reply).await,
            },
        }
    }

    fn restart_backend(&self, stand: &Stand) {
        let of_label = stand.look(|cluster| cluster.route(&self.entry.database, &self.entry.label));
        let backend = if let Name::Be(own) = self.node { Some(own) } else { of_label };
        if let Some(backend) = backend {
            stand.update(|cluster| cluster.restart_backend(backend));
        }
    }

    fn time_out(&self, stand: &Stand) {
        let running = stand.look(|cluster| {
            let found = cluster.label(&self.entry.database, &self.entry.label)??;
            matches!(found.state, State::Prepare | State::Prepared).then_some(found.id)
        });
        if let Some(id) = running {
            stand.abort(&self.entry.database, id, "timeout by txn manager");
        }
    }

    /// Whether the request has a user and password of the settings. None: it has none that can be read.
    pub fn is_authorized(&self, stand: &Stand, request: &Request) -> Option<bool> {
        let (user, password) = basic_authorization(request.header("authorization")?)?;
        // SDKs write the database of users into the name, behind a colon or an at sign of a cluster: not played.
        let is_right = stand.settings.users.get(&user).is_some_and(|known| *known == password);
        Some(is_right && self.fault != Some(Fault::AuthRefused))
    }
}

pub async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

async fn outage(how: Outage, connection: &mut Connection) -> Answer {
    match how {
        Outage::Error500 => Reply::text(500, "Internal Server Error").closing().into(),
        Outage::Error502 => Reply::text(502, "Bad Gateway").closing().into(),
        Outage::Reset => Answer::Reset,
        Outage::Hang => {
            connection.until_closed().await;
            Answer::Close
        }
    }
}

async fn spoiled(reply: &Reply, how: BadReply, connection: &mut Connection) -> io::Result<Next> {
    let half = reply.body.len() / 2;
    match how {
        BadReply::Truncated => {
            let bytes = reply.bytes();
            connection.write(&bytes[..bytes.len() - (reply.body.len() - half)]).await?;
        }
        BadReply::HalfJson => {
            let cut = Reply { body: reply.body[..half].to_vec(), ..reply.clone() };
            connection.write(&cut.closing().bytes()).await?;
        }
        BadReply::NotJson => {
            connection.write(&Reply::new(200, "text/html", "<html>502 Bad Gateway</html>").closing().bytes()).await?;
        }
        BadReply::Empty => {
            connection.write(&Reply::new(200, "application/json", "").closing().bytes()).await?;
        }
    }
    Ok(Next::Close)
}
