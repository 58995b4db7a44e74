//! A reply, and its bytes.

use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The connection ends with it.
    pub closes: bool,
}

impl Reply {
    pub fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Reply { status, headers: vec![("Content-Type", kind.to_owned())], body: body.into(), closes: false }
    }

    pub fn text(status: u16, text: &str) -> Self {
        Reply::new(status, "text/plain", text)
    }

    pub fn json(value: &Value) -> Self {
        Reply::new(200, "application/json", value.to_string())
    }

    /// With line ends and four spaces, as BEs and FEs' maps have it.
    pub fn pretty(members: &[(&str, Value)]) -> Self {
        let lines: Vec<String> =
            members.iter().map(|(key, value)| format!("    {}: {value}", Value::from(*key))).collect();
        Reply::new(200, "application/json", format!("{{\n{}\n}}", lines.join(",\n")))
    }

    /// 307, and nothing else: no body has been read, none is awaited.
    pub fn redirect(address: &str, target: &str) -> Self {
        let mut reply = Reply::new(307, "text/plain", Vec::new());
        reply.headers.push(("Location", format!("http://{address}{target}")));
        reply
    }

    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n", self.body.len());
        head += if self.closes { "Connection: close\r\n\r\n" } else { "Connection: keep-alive\r\n\r\n" };
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// One member of a JSON reply, for the log.
    pub fn member(&self, name: &str) -> Option<String> {
        let json: Value = serde_json::from_slice(&self.body).ok()?;
        let member = json.get(name)?;
        Some(member.as_str().map_or_else(|| member.to_string(), str::to_owned))
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}
