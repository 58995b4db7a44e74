//! An FE's MySQL port: the text protocol, as far as clients of StarRocks use it.

mod auth;
mod information_schema;
mod packet;
mod result;
mod select;
mod show;
mod statement;
mod tables;
mod transactions;
mod variables;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpStream;

use crate::call::{Call, Name, pause};
use crate::faults::{Fault, Outage};
use crate::http::Node;
use crate::stand::Stand;
use packet::Packets;
use result::Answer;

static CONNECTIONS: AtomicU32 = AtomicU32::new(1);

/// What a connection remembers between its statements.
pub struct Session {
    pub fe: usize,
    pub connection: u32,
    pub user: String,
    pub database: Option<String>,
}

mod command {
    pub const QUIT: u8 = 0x01;
    pub const INIT_DB: u8 = 0x02;
    pub const QUERY: u8 = 0x03;
    pub const FIELD_LIST: u8 = 0x04;
    pub const PING: u8 = 0x0e;
    pub const STMT_PREPARE: u8 = 0x16;
    pub const RESET_CONNECTION: u8 = 0x1f;
}

pub async fn serve(stand: Arc<Stand>, fe: usize, stream: TcpStream, node: Node) {
    let mut packets = Packets::new(stream, node);
    let mut call = Call::new(Name::Mysql(fe), "mysql.connect");
    call.pick(&stand, None);
    let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let is_refused = match &call.fault {
        Some(Fault::Unavailable { how: Outage::Hang }) => {
            packets.until_closed().await;
            true
        }
        Some(Fault::Unavailable { .. }) => true,
        Some(Fault::Delay { delay_ms }) => {
            pause(*delay_ms).await;
            false
        }
        _ => false,
    };
    if is_refused {
        stand.record(call.entry);
        return packets.reset();
    }
    let is_denied = call.fault == Some(Fault::AuthRefused);
    let Ok(Some(session)) = auth::greet(&stand, &mut packets, fe, connection, is_denied).await else {
        call.entry.status = "refused".into();
        return stand.record(call.entry);
    };
    call.entry.status = "OK".into();
    stand.record(call.entry);
    // A client that goes away in the middle is no fault of ours.
    let _ = converse(&stand, &mut packets, session).await;
}

async fn converse(stand: &Arc<Stand>, packets: &mut Packets, mut session: Session) -> io::Result<()> {
    loop {
        packets.begin();
        let Some(packet) = packets.read().await? else { return Ok(()) };
        let Some((command, rest)) = packet.split_first() else { return Ok(()) };
        let text = String::from_utf8_lossy(rest).into_owned();
        let answer = match *command {
            command::QUIT => return Ok(()),
            command::PING | command::RESET_CONNECTION => Answer::ok(),
            command::INIT_DB => statement::use_database(stand, &mut session, &text),
            command::QUERY => match query(stand, packets, &mut session, text).await? {
                Some(answer) => answer,
                None => return Ok(()),
            },
            command::STMT_PREPARE => Answer::syntax("Unsupported command(COM_STMT_PREPARE)"),
            command::FIELD_LIST => Answer::syntax("Unsupported command(COM_FIELD_LIST)"),
            other => Answer::syntax(&format!("Unsupported command({other})")),
        };
        answer.send(packets).await?;
    }
}

/// None: the connection ends.
async fn query(
    stand: &Arc<Stand>,
    packets: &mut Packets,
    session: &mut Session,
    text: String,
) -> io::Result<Option<Answer>> {
    let mut call = Call::new(Name::Mysql(session.fe), "mysql.query");
    call.entry.sql = text.chars().take(SQL_CHARS_MAX).collect();
    call.entry.database = session.database.clone().unwrap_or_default();
    call.pick(stand, None);
    let mut replaced = None;
    match &call.fault {
        Some(Fault::Unavailable { how: Outage::Hang }) => {
            stand.record(call.entry);
            packets.until_closed().await;
            return Ok(None);
        }
        Some(Fault::Unavailable { .. }) => {
            stand.record(call.entry);
            packets.reset();
            return Ok(None);
        }
        Some(Fault::Delay { delay_ms }) => pause(*delay_ms).await,
        Some(Fault::LeaderSwitch { to, .. }) => crate::actions::switch_leader(stand, *to).await,
        Some(Fault::SqlError { code, message }) => replaced = Some(Answer::error(*code, message)),
        _ => {}
    }
    let answer = match replaced {
        Some(answer) => answer,
        None => statement::run(stand, session, &text).await,
    };
    match &answer {
        Answer::Rows(rows) => {
            call.entry.rows = rows.rows.len() as u64;
            call.entry.status = "OK".into();
        }
        Answer::Ok { .. } => call.entry.status = "OK".into(),
        Answer::Error { code, message } => {
            call.entry.status = format!("error {code}");
            call.entry.message.clone_from(message);
        }
    }
    let is_lost = call.fault == Some(Fault::LoseReply);
    stand.record(call.entry);
    if is_lost {
        packets.reset();
        return Ok(None);
    }
    Ok(Some(answer))
}

/// Of a statement, in the log.
const SQL_CHARS_MAX: usize = 400;
