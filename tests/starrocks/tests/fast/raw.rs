//! A client that shows each moment of a call: whether a 100 came, which reply, or how the connection ended.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use starrocks_stand_in::{Action, Fault, LabelCounts, Rule, Settings, StandIn};

/// For what has to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// For what must not come.
pub const SILENCE: Duration = Duration::from_millis(200);

/// `root:` without a password.
const AUTHORIZATION: &str = "Basic cm9vdDo=";

/// A cluster with a table, and whom a test talks to.
pub struct Cluster {
    pub it: StandIn,
    runtime: tokio::runtime::Runtime,
}

pub fn cluster() -> Cluster {
    cluster_with(Settings::default())
}

pub fn cluster_with(settings: Settings) -> Cluster {
    let settings = Settings { database: Some("d".into()), ..settings };
    let it = StandIn::start(settings).expect("start the stand-in");
    it.sql(
        "CREATE TABLE d.t (k BIGINT, name VARCHAR(10), at DATETIME, price DECIMAL(5,2), seq BIGINT, must VARCHAR(5) NOT NULL \
         DEFAULT 'x') PRIMARY KEY (k) DISTRIBUTED BY HASH (k) BUCKETS 2",
    )
    .expect("make a table");
    Cluster { it, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime") }
}

/// One call.
#[derive(Clone, Debug, Default)]
pub struct Ask<'a> {
    pub port: u16,
    pub method: &'a str,
    pub path: String,
    pub headers: Vec<(&'a str, String)>,
    pub body: Option<&'a [u8]>,
    /// Sends the body without waiting for a 100, and does not ask for one.
    pub unasked: bool,
    pub wait: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Reply {
        status: u16,
        continued: bool,
        location: Option<String>,
        body: String,
    },
    Reset,
    Refused,
    /// The server ended the connection without a reply, or in the middle of one.
    Closed,
    Nothing,
}

impl Got {
    #[track_caller]
    pub fn json(&self) -> Value {
        match self {
            Got::Reply { body, .. } => serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")),
            other => panic!("no reply: {other:?}"),
        }
    }

    #[track_caller]
    pub fn status(&self) -> String {
        let json = self.json();
        let status = json.get("Status").or_else(|| json.get("status"));
        status.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn message(&self) -> String {
        let json = self.json();
        let message = json.get("Message").or_else(|| json.get("msg"));
        message.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub fn continued(&self) -> bool {
        matches!(self, Got::Reply { continued: true, .. })
    }
}

impl Ask<'_> {
    /// This one call.
    pub fn send(&self) -> Got {
        match self.try_send() {
            Ok(got) => got,
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused => Got::Refused,
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Got::Reset,
                ErrorKind::UnexpectedEof => Got::Closed,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Got::Nothing,
                _ => panic!("{error}"),
            },
        }
    }

    /// And where it is sent to, with everything it has.
    pub fn follow(&self) -> Got {
        let mut ask = self.clone();
        loop {
            match ask.send() {
                Got::Reply { status: 307, location: Some(location), .. } => {
                    let (address, path) =
                        location.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
                    ask.port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
                    ask.path = format!("/{path}");
                }
                other => return other,
            }
        }
    }

    fn try_send(&self) -> io::Result<Got> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(self.wait.unwrap_or(PATIENCE)))?;
        let mut head = format!("{} {} HTTP/1.1\r\nHost: x\r\n", self.method, self.path);
        self.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        let body = self.body.unwrap_or_default();
        if self.body.is_some() {
            head += &format!("Content-Length: {}\r\n", body.len());
            if !self.unasked {
                head += "Expect: 100-continue\r\n";
            }
        }
        head += "\r\n";
        stream.write_all(head.as_bytes())?;
        let mut reader = Reader { stream, buffer: Vec::new() };
        if self.body.is_none() {
            return reader.reply(false);
        }
        if self.unasked {
            reader.stream.write_all(body)?;
            return reader.reply(false);
        }
        match reader.reply(false)? {
            Got::Reply { status: 100, .. } => {
                // A reset while the body is on its way is seen when the reply is read.
                let _ = reader.stream.write_all(body);
                reader.reply(true)
            }
            other => Ok(other),
        }
    }
}

struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Reader {
    fn reply(&mut self, continued: bool) -> io::Result<Got> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = header("Content-Length").map_or(0, |length| length.parse().expect("a length"));
        while self.buffer.len() < length {
            self.fill()?;
        }
        let body = String::from_utf8_lossy(&self.buffer[..length]).into_owned();
        Ok(Got::Reply { status, continued, location: header("Location"), body })
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4_096];
        match self.stream.read(&mut bytes)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            n => {
                self.buffer.extend_from_slice(&bytes[..n]);
                Ok(())
            }
        }
    }
}

impl Cluster {
    pub fn fe(&self) -> u16 {
        self.it.ports().fe[0]
    }

    /// A plain load of JSON rows at the leader, which is to be sent.
    pub fn plain<'a>(&self, label: &str, rows: &'a str) -> Ask<'a> {
        Ask {
            port: self.fe(),
            method: "PUT",
            path: "/api/d/t/_stream_load".into(),
            headers: vec![
                ("Authorization", AUTHORIZATION.into()),
                ("label", label.into()),
                ("format", "json".into()),
                ("strip_outer_array", "true".into()),
            ],
            body: Some(rows.as_bytes()),
            ..Ask::default()
        }
    }

    /// Loads and has to succeed.
    #[track_caller]
    pub fn loaded(&self, label: &str, rows: &str) {
        let got = self.plain(label, rows).follow();
        assert_eq!(got.status(), "Success", "{got:?}");
    }

    /// A call of the transaction interface, at the leader.
    pub fn transaction<'a>(&self, operation: &str, label: &str, rows: Option<&'a str>) -> Ask<'a> {
        Ask {
            method: if rows.is_some() { "PUT" } else { "POST" },
            path: format!("/api/transaction/{operation}"),
            headers: vec![
                ("Authorization", AUTHORIZATION.into()),
                ("db", "d".into()),
                ("table", "t".into()),
                ("label", label.into()),
                ("format", "json".into()),
                ("strip_outer_array", "true".into()),
            ],
            body: rows.map(str::as_bytes),
            ..self.plain(label, "")
        }
    }

    /// The operations, one after the other, each of which has to succeed; `load` sends one row.
    #[track_caller]
    pub fn done(&self, label: &str, operations: &[&str]) {
        for operation in operations {
            let rows = (*operation == "load").then_some(ROW);
            let got = self.transaction(operation, label, rows).follow();
            assert_eq!(got.status(), "OK", "{operation}: {got:?}");
        }
    }

    pub fn ask(&self, method: &'static str, path: &str) -> Ask<'static> {
        let headers = vec![("Authorization", AUTHORIZATION.into())];
        Ask { port: self.fe(), method, path: path.into(), headers, ..Ask::default() }
    }

    #[track_caller]
    pub fn state(&self, label: &str) -> String {
        let got = self.ask("GET", &format!("/api/d/get_load_state?label={label}")).follow();
        got.json()["state"].as_str().expect("a state").to_owned()
    }

    #[track_caller]
    pub fn until_state(&self, label: &str, state: &str) {
        let begun = Instant::now();
        while self.state(label) != state {
            assert!(begun.elapsed() < PATIENCE, "{label} is {}, not {state}", self.state(label));
            std::thread::yield_now();
        }
    }

    #[track_caller]
    pub fn fault(&self, endpoint: &str, fault: Fault) {
        self.rule(Rule::new(endpoint, fault));
    }

    #[track_caller]
    pub fn rule(&self, rule: Rule) {
        self.it.fault(rule).expect("a rule that can play");
    }

    #[track_caller]
    pub fn act(&self, action: Action) -> Value {
        self.runtime.block_on(self.it.act(action)).expect("an action that can be done")
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Rows that an FE shows, their values with commas between.
    #[track_caller]
    pub fn shown(&self, fe: usize, columns: &str) -> Vec<String> {
        let rows = self.it.select(fe, "d", &format!("SELECT {columns} FROM t ORDER BY k")).expect("a SELECT");
        let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".into());
        rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(",")).collect()
    }

    pub fn counts(&self, label: &str) -> LabelCounts {
        let mut all = self.it.labels().into_iter();
        all.find(|(_, own, _)| own == label).map(|(_, _, counts)| counts).unwrap_or_default()
    }
}

/// One row of the table.
pub const ROW: &str = r#"[{"k":1,"name":"a","must":"m"}]"#;
