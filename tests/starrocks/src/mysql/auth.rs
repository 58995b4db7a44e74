//! The handshake. mysql_native_password, as StarRocks has it; a client that no longer has that one (MySQL 9's own) is let
//! in by caching_sha2_password, which StarRocks would not do.

use std::io;

use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::packet::Packets;
use super::result::Answer;
use super::{Session, variables};
use crate::stand::Stand;

const NATIVE: &str = "mysql_native_password";
const SHA2: &str = "caching_sha2_password";
const SALT_BYTES: usize = 20;

mod capability {
    pub const CONNECT_WITH_DB: u32 = 0x8;
    pub const SSL: u32 = 0x800;
    pub const PLUGIN_AUTH: u32 = 0x8_0000;
    pub const LENENC_AUTH_DATA: u32 = 0x20_0000;
    /// Long password and flag, database, protocol 4.1, transactions, secure connection, plugins, and the length above.
    pub const OURS: u32 = 0x1 | 0x4 | CONNECT_WITH_DB | 0x200 | 0x2000 | 0x8000 | PLUGIN_AUTH | LENENC_AUTH_DATA;
}

/// None: refused, and the client knows.
pub async fn greet(
    stand: &Stand,
    packets: &mut Packets,
    fe: usize,
    connection: u32,
    is_denied: bool,
) -> io::Result<Option<Session>> {
    let salt = salt();
    packets.write(&greeting(connection, &salt)).await?;
    packets.flush().await?;
    let Some(packet) = packets.read().await? else { return Ok(None) };
    let Some(login) = Login::parse(&packet) else {
        Answer::syntax("the handshake is malformed").send(packets).await?;
        return Ok(None);
    };
    let password = stand.settings.users.get(&login.user).filter(|_| !is_denied);
    let is_right = match login.plugin.as_deref() {
        None | Some(NATIVE) => password.is_some_and(|password| login.response == native(password, &salt)),
        Some(SHA2) => {
            password.is_some_and(|password| !is_denied && password.is_empty() && login.response.is_empty()) || {
                match asked_again(packets, SHA2).await? {
                    Some((salt, response)) => match password {
                        Some(password) if response == sha2(password, &salt) => {
                            // "Fast authentication has succeeded."
                            if !password.is_empty() {
                                packets.write(&[0x01, 0x03]).await?;
                            }
                            true
                        }
                        _ => false,
                    },
                    None => return Ok(None),
                }
            }
        }
        Some(_) => match asked_again(packets, NATIVE).await? {
            Some((salt, response)) => password.is_some_and(|password| response == native(password, &salt)),
            None => return Ok(None),
        },
    };
    if !is_right {
        let message = format!("Access denied for user '{}' (using password: YES)", login.user);
        Answer::error(1045, &message).send(packets).await?;
        return Ok(None);
    }
    let mut session = Session { fe, connection, user: login.user, database: None };
    if let Some(database) = login.database.filter(|name| !name.is_empty()) {
        let chosen = super::statement::use_database(stand, &mut session, &database);
        if let Answer::Error { .. } = chosen {
            chosen.send(packets).await?;
            return Ok(None);
        }
    }
    Answer::ok().send(packets).await?;
    Ok(Some(session))
}

/// Another method of authentication: its salt and the client's response.
async fn asked_again(packets: &mut Packets, plugin: &str) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let salt = salt();
    let mut packet = vec![0xfe];
    packet.extend_from_slice(plugin.as_bytes());
    packet.push(0);
    packet.extend_from_slice(&salt);
    packet.push(0);
    packets.write(&packet).await?;
    packets.flush().await?;
    // An empty password is an empty packet, or a zero.
    let response = packets.read().await?;
    Ok(response.map(|response| (salt, if response == [0] { Vec::new() } else { response })))
}

fn salt() -> Vec<u8> {
    (0..SALT_BYTES).map(|_| fastrand::u8(33..127)).collect()
}

fn greeting(connection: u32, salt: &[u8]) -> Vec<u8> {
    let mut packet = vec![10];
    packet.extend_from_slice(variables::SERVER_VERSION.as_bytes());
    packet.push(0);
    packet.extend_from_slice(&connection.to_le_bytes());
    packet.extend_from_slice(&salt[..8]);
    packet.push(0);
    packet.extend_from_slice(&(capability::OURS as u16).to_le_bytes());
    // utf8mb3, and autocommit.
    packet.push(33);
    packet.extend_from_slice(&2_u16.to_le_bytes());
    packet.extend_from_slice(&((capability::OURS >> 16) as u16).to_le_bytes());
    packet.push(SALT_BYTES as u8 + 1);
    packet.extend_from_slice(&[0; 10]);
    packet.extend_from_slice(&salt[8..]);
    packet.push(0);
    packet.extend_from_slice(NATIVE.as_bytes());
    packet.push(0);
    packet
}

struct Login {
    user: String,
    response: Vec<u8>,
    database: Option<String>,
    plugin: Option<String>,
}

impl Login {
    fn parse(packet: &[u8]) -> Option<Self> {
        let capabilities = u32::from_le_bytes(packet.get(..4)?.try_into().ok()?);
        if capabilities & capability::SSL != 0 {
            return None;
        }
        let mut rest = packet.get(32..)?;
        let user = text(&mut rest)?;
        let (length, after) = rest.split_first()?;
        let length = usize::from(*length);
        let response = after.get(..length)?.to_vec();
        rest = &after[length..];
        let database = if capabilities & capability::CONNECT_WITH_DB != 0 { text(&mut rest) } else { None };
        let plugin = if capabilities & capability::PLUGIN_AUTH != 0 { text(&mut rest) } else { None };
        Some(Login { user, response, database, plugin })
    }
}

/// A text that ends with a zero.
fn text(rest: &mut &[u8]) -> Option<String> {
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let text = String::from_utf8_lossy(&rest[..end]).into_owned();
    *rest = rest.get(end + 1..).unwrap_or_default();
    Some(text)
}

/// SHA1(password) XOR SHA1(salt, SHA1(SHA1(password)))
fn native(password: &str, salt: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password.as_bytes());
    let twice = Sha1::digest(once);
    let salted = Sha1::new().chain_update(salt).chain_update(twice).finalize();
    once.iter().zip(salted).map(|(a, b)| a ^ b).collect()
}

/// SHA256(password) XOR SHA256(SHA256(SHA256(password)), salt)
fn sha2(password: &str, salt: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha256::digest(password.as_bytes());
    let twice = Sha256::digest(once);
    let salted = Sha256::new().chain_update(twice).chain_update(salt).finalize();
    once.iter().zip(salted).map(|(a, b)| a ^ b).collect()
}
