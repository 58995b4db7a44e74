//! A message's members: a schema and a payload, or an envelope's own.

use std::ops::Range;

use super::scan::{Fault, Scanner};

/// Members of a message.
#[derive(Default)]
pub struct Parts {
    pub schema: Option<Range<usize>>,
    pub payload: Option<Range<usize>>,
    times: usize,
    others: usize,
}

impl Parts {
    pub fn of(message: &[u8]) -> Result<Self, Fault> {
        let mut parts = Parts::default();
        let mut scanner = Scanner::new(message)?;
        scanner.object(|scanner, name| {
            scanner.peek();
            let start = scanner.at();
            scanner.skip()?;
            let range = start..scanner.at();
            match name {
                "schema" => parts.schema = Some(range),
                "payload" => parts.payload = Some(range),
                "ts_ms" | "ts_us" | "ts_ns" => parts.times += 1,
                _ => parts.others += 1,
            }
            Ok(())
        })?;
        scanner.end()?;
        Ok(parts)
    }

    /// `{"ts_ms":1795385496102}`
    pub fn is_heartbeat(&self) -> bool {
        self.times > 0 && self.others == 0 && self.payload.is_none()
    }
}

/// Finds the envelopes of a topic of ours, some of which have a schema beside them.
#[derive(Default)]
pub struct Payloads {
    /// What stood before the last one, where nothing but a bracket stood behind it: the next one need not be looked for.
    before: Vec<u8>,
}

impl Payloads {
    /// # Errors
    /// What is wrong with the message.
    pub fn find(&mut self, message: &[u8]) -> Result<Range<usize>, String> {
        if !message.starts_with(br#"{"schema":"#) {
            return Ok(0..message.len());
        }
        if !self.before.is_empty() && message.starts_with(&self.before) && message.last() == Some(&b'}') {
            return Ok(self.before.len()..message.len() - 1);
        }
        let payload = Parts::of(message).map_err(|fault| fault.to_string())?.payload;
        let payload = payload.ok_or("it has a schema and no payload")?;
        self.before.clear();
        if &message[payload.end..] == b"}" {
            self.before.extend(&message[..payload.start]);
        }
        Ok(payload)
    }
}
