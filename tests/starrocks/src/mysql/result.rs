//! Results and their packets.

use std::io;

use super::packet::{Packets, put_bytes, put_length};
use crate::view::Cell;

/// Autocommit.
const STATUS: [u8; 2] = [2, 0];

#[derive(Debug)]
pub enum Answer {
    Ok { affected: u64 },
    Rows(Rows),
    Error { code: u16, message: String },
}

#[derive(Debug, Default)]
pub struct Rows {
    pub columns: Vec<Field>,
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub kind: FieldKind,
}

/// Types as clients see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Tiny = 1,
    Short = 2,
    Long = 3,
    Float = 4,
    Double = 5,
    LongLong = 8,
    Date = 10,
    DateTime = 12,
    Decimal = 246,
    Blob = 252,
    Text = 253,
    Char = 254,
}

impl Answer {
    pub fn ok() -> Self {
        Answer::Ok { affected: 0 }
    }

    pub fn error(code: u16, message: &str) -> Self {
        Answer::Error { code, message: message.to_owned() }
    }

    /// What StarRocks says to nearly everything that it does not take.
    pub fn syntax(message: &str) -> Self {
        Answer::error(1064, message)
    }

    /// Texts under these names.
    pub fn table(names: &[&str], rows: Vec<Vec<String>>) -> Self {
        let columns = names.iter().map(|name| Field { name: (*name).to_owned(), kind: FieldKind::Text }).collect();
        let rows = rows.into_iter().map(|row| row.into_iter().map(|text| Some(text.into_bytes())).collect()).collect();
        Answer::Rows(Rows { columns, rows })
    }

    pub async fn send(&self, packets: &mut Packets) -> io::Result<()> {
        match self {
            Answer::Ok { affected } => {
                let mut packet = vec![0];
                put_length(&mut packet, *affected);
                put_length(&mut packet, 0);
                packet.extend_from_slice(&STATUS);
                packet.extend_from_slice(&[0, 0]);
                packets.write(&packet).await?;
            }
            Answer::Error { code, message } => {
                let mut packet = vec![0xff];
                packet.extend_from_slice(&code.to_le_bytes());
                packet.push(b'#');
                packet.extend_from_slice(state(*code));
                packet.extend_from_slice(message.as_bytes());
                packets.write(&packet).await?;
            }
            Answer::Rows(rows) => rows.send(packets).await?,
        }
        packets.flush().await
    }
}

/// SQLSTATE
fn state(code: u16) -> &'static [u8] {
    match code {
        1045 => b"28000",
        1049 => b"42000",
        1046 => b"3D000",
        1064 => b"42000",
        1146 | 1051 | 5502 => b"42S02",
        _ => b"HY000",
    }
}

impl Rows {
    async fn send(&self, packets: &mut Packets) -> io::Result<()> {
        let mut packet = Vec::new();
        put_length(&mut packet, self.columns.len() as u64);
        packets.write(&packet).await?;
        for column in &self.columns {
            packets.write(&column.definition()).await?;
        }
        packets.write(&END).await?;
        for row in &self.rows {
            packet.clear();
            for cell in row {
                match cell {
                    None => packet.push(0xfb),
                    Some(bytes) => put_bytes(&mut packet, bytes),
                }
            }
            packets.write(&packet).await?;
        }
        packets.write(&END).await
    }
}

const END: [u8; 5] = [0xfe, 0, 0, STATUS[0], STATUS[1]];

impl Field {
    fn definition(&self) -> Vec<u8> {
        let mut packet = Vec::new();
        put_bytes(&mut packet, b"def");
        for name in ["", "", ""] {
            put_bytes(&mut packet, name.as_bytes());
        }
        put_bytes(&mut packet, self.name.as_bytes());
        put_bytes(&mut packet, self.name.as_bytes());
        packet.push(0x0c);
        // binary for numbers and bytes, utf8mb3 for texts.
        let is_text = matches!(self.kind, FieldKind::Text | FieldKind::Char);
        packet.extend_from_slice(&if is_text { 33_u16 } else { 63 }.to_le_bytes());
        packet.extend_from_slice(&255_u32.to_le_bytes());
        packet.push(self.kind as u8);
        packet.extend_from_slice(&if self.kind == FieldKind::Blob { 0x80_u16 } else { 0 }.to_le_bytes());
        packet.extend_from_slice(&[0, 0, 0]);
        packet
    }
}
