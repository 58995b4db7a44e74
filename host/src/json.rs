//! JSON written straight into bytes: where the shape is known, no tree is built.

use serde::Serialize;

/// A value as serde has it: a text with its quotes and escapes, a float with as few digits as read back to it.
pub fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("plain data is JSON, and a vector takes every write");
}

pub fn integer(out: &mut Vec<u8>, value: i64) {
    out.extend(itoa::Buffer::new().format(value).as_bytes());
}

pub fn unsigned(out: &mut Vec<u8>, value: u64) {
    out.extend(itoa::Buffer::new().format(value).as_bytes());
}

/// A text with its quotes. Most need no escape, and looking at all bytes without a branch is quicker than writing them one by
/// one.
pub fn text(out: &mut Vec<u8>, text: &str) {
    let is_plain = !text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    if is_plain {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend(text.as_bytes());
        out.push(b'"');
    } else {
        write(out, text);
    }
}
