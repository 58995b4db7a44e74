//! Kafka's programs, as `cargo xtask setup` fetched them below the target folder, and a data folder to start from.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::mysql::target;

/// Kafka's own programs against a broker; it can be had while the broker itself is being killed.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub port: u16,
}

/// A record as Kafka's console consumer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: u32,
    pub offset: u64,
    pub headers: Vec<(String, String)>,
    pub key: Option<String>,
    pub value: Option<String>,
}

/// Between the fields that the console consumer prints: in no JSON text.
const FIELD: &str = "\u{1f}";
const HEADER: &str = "\u{1e}";
const NULL: &str = "\u{1d}";

/// After which the console consumer gives up.
const SILENCE_MS: &str = "30000";

impl Client {
    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Makes a topic; `settings`: `"cleanup.policy=compact"`.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: u32, settings: &[&str]) {
        let partitions = partitions.to_string();
        let mut arguments = vec!["--create", "--topic", name, "--partitions", &partitions];
        settings.iter().for_each(|setting| arguments.extend(["--config", *setting]));
        self.topics(&arguments);
    }

    /// `kafka-topics.sh` with these arguments; gives what it prints.
    #[track_caller]
    pub fn topics(&self, arguments: &[&str]) -> String {
        self.answer("org.apache.kafka.tools.TopicCommand", arguments)
    }

    /// Deletes a partition's records before an offset; -1: all of them.
    #[track_caller]
    pub fn delete_records(&self, topic: &str, partition: u32, before: i64) {
        let mut file = tempfile::NamedTempFile::new().expect("make a temporary file");
        let offsets = format!(
            "{{\"version\":1,\"partitions\":[{{\"topic\":{topic:?},\"partition\":{partition},\"offset\":{before}}}]}}"
        );
        file.write_all(offsets.as_bytes()).expect("write the offsets");
        let path = file.path().display().to_string();
        self.answer("org.apache.kafka.tools.DeleteRecordsCommand", &["--offset-json-file", &path]);
    }

    /// One of Kafka's programs by its class, told the broker; gives what it prints.
    #[track_caller]
    pub fn answer(&self, class: &str, arguments: &[&str]) -> String {
        match self.try_answer(class, arguments) {
            Ok(printed) => printed,
            Err(said) => panic!("{class} {}: {said}", arguments.join(" ")),
        }
    }

    /// The same where the broker may refuse; the error is all that the program says.
    pub fn try_answer(&self, class: &str, arguments: &[&str]) -> Result<String, String> {
        let mut program = tool();
        program.env("KAFKA_JAVA_OPTIONS", QUIET).args([class, "--bootstrap-server", &self.address()]);
        let output = program.args(arguments).stdin(Stdio::null()).output().expect("run one of Kafka's programs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))),
        }
    }

    /// Writes records by Kafka's console producer, outside any transaction.
    #[track_caller]
    pub fn produce(&self, topic: &str, records: &[(&str, &str)]) {
        let mut program = tool();
        program.env("KAFKA_JAVA_OPTIONS", QUIET).args(["org.apache.kafka.tools.ConsoleProducer"]);
        program.args(["--bootstrap-server", &self.address(), "--topic", topic, "--reader-property", "parse.key=true"]);
        program.args(["--reader-property", &format!("key.separator={FIELD}")]);
        let mut producer =
            program.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("run the console producer");
        let mut input = producer.stdin.take().expect("piped");
        for (key, value) in records {
            writeln!(input, "{key}{FIELD}{value}").expect("write to the console producer");
        }
        drop(input);
        let status = producer.wait().expect("wait for the console producer");
        assert!(status.success(), "the console producer ended with {status}");
    }

    /// All that a read_committed consumer sees of a topic now, in order per partition, by Kafka's own console consumer.
    #[track_caller]
    pub fn committed(&self, topic: &str) -> Vec<Record> {
        self.consume(topic, "read_committed")
    }

    /// The same with what was aborted.
    #[track_caller]
    pub fn uncommitted(&self, topic: &str) -> Vec<Record> {
        self.consume(topic, "read_uncommitted")
    }

    fn consume(&self, topic: &str, isolation: &str) -> Vec<Record> {
        // The program ends after a number of records or after a silence. How long one lasts that means the end depends on the
        // machine, so it is told how many there are up to the ends of the partitions; fewer are seen by the silence.
        let count = self.count(topic, isolation);
        if count == 0 {
            return Vec::new();
        }
        let count = count.to_string();
        let properties = [
            "print.partition=true".to_owned(),
            "print.offset=true".to_owned(),
            "print.headers=true".to_owned(),
            "print.key=true".to_owned(),
            format!("key.separator={FIELD}"),
            format!("headers.separator={HEADER}"),
            format!("null.literal={NULL}"),
        ];
        let mut arguments = vec!["--topic", topic, "--from-beginning", "--isolation-level", isolation];
        arguments.extend(["--max-messages", &count, "--timeout-ms", SILENCE_MS]);
        properties.iter().for_each(|property| arguments.extend(["--formatter-property", property]));
        let printed = self.answer("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments);
        printed
            .lines()
            .map(|line| Record::read(line).unwrap_or_else(|| panic!("the console consumer printed {line:?}")))
            .collect()
    }
}

impl Record {
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.splitn(5, FIELD);
        let partition = fields.next()?.strip_prefix("Partition:")?.parse().ok()?;
        let offset = fields.next()?.strip_prefix("Offset:")?.parse().ok()?;
        let headers = match fields.next()? {
            "NO_HEADERS" => Vec::new(),
            some => some
                .split(HEADER)
                .map(|one| {
                    let (name, value) = one.split_once(':')?;
                    Some((name.to_owned(), value.to_owned()))
                })
                .collect::<Option<_>>()?,
        };
        let text = |text: &str| (text != NULL).then(|| text.to_owned());
        Some(Record { partition, offset, headers, key: text(fields.next()?), value: text(fields.next()?) })
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }
}

/// For programs that run once: what they log is for people.
const QUIET: &str =
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Dorg.slf4j.simpleLogger.defaultLogLevel=error";

/// The broker with its places in a folder, not yet started; it replaces itself by the JVM, whose process it then is.
pub(super) fn broker(folder: &Path, java: &str) -> Command {
    let mut broker = tool();
    broker.env("KAFKA_JAVA_OPTIONS", java).arg("kafka.Kafka").arg(folder.join("server.properties"));
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("broker.log"));
    broker.stdout(Stdio::null()).stderr(log.expect("open the broker's log"));
    broker
}

/// Makes a data folder as `kafka-storage.sh format` makes it. That takes a JVM, so it is made once and kept below the
/// target folder.
pub(super) fn new_data(folder: &Path) {
    let status = Command::new("cp").arg("-a").arg(formatted()).arg(folder).status().expect("run cp");
    assert!(status.success(), "cp -a to {} ended with {status}", folder.display());
}

fn formatted() -> &'static Path {
    static FORMATTED: OnceLock<PathBuf> = OnceLock::new();
    FORMATTED.get_or_init(|| {
        let kept = target().join("tests").join("kafka-data");
        let made = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        if made(&kept).is_some_and(|kept| made(&program()).is_some_and(|broker| kept > broker)) {
            return kept;
        }
        fs::create_dir_all(target().join("tests")).expect("make a folder below target");
        let folder = tempfile::tempdir_in(target().join("tests")).expect("make a folder below target");
        let (properties, data) = (folder.path().join("server.properties"), folder.path().join("data"));
        let lines = format!(
            "{}listeners=CONTROLLER://127.0.0.1:1,PLAINTEXT://127.0.0.1:2\ncontroller.quorum.voters=1@127.0.0.1:1\nlog.dirs={}\n",
            super::DEFAULTS,
            data.display()
        );
        fs::write(&properties, lines).expect("write server.properties");
        let mut format = tool();
        format.env("KAFKA_JAVA_OPTIONS", QUIET).arg("kafka.tools.StorageTool").args(["format", "-t", "aGluZHNpZ2h0LXRlc3RzMA", "-c"]);
        let output = format.arg(&properties).arg("--ignore-formatted").output().expect("run kafka.tools.StorageTool");
        assert!(output.status.success(), "kafka.tools.StorageTool: {}", String::from_utf8_lossy(&output.stderr));
        let _ = fs::remove_dir_all(&kept);
        match fs::rename(&data, &kept) {
            // Another test process was quicker: its folder is as good.
            Err(_) if kept.exists() => {}
            renamed => renamed.expect("keep the formatted data folder"),
        }
        kept
    })
}

fn tool() -> Command {
    let path = program();
    assert!(path.exists(), "there is no Kafka at {}: run `cargo xtask setup`", path.display());
    Command::new(path)
}

fn program() -> PathBuf {
    target().join("services").join("kafka").join("bin").join("kafka")
}
