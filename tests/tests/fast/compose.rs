//! Holds `docker-compose.yml` to the Compose specification, and to what is there: every port, variable, command and file that it
//! names. No container engine is asked, and none of its servers is started.
//!
//! `tests/fixtures/compose-spec.json` is the specification's own schema.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use boon::{Compiler, Draft, Schemas};
use clap::Parser;
use hindsight::cli::{Cli, Command, Half};
use hindsight::config::{Config, SinkKind, SourceKind, defaults};
use hindsight_tests::program::repository;
use serde_json::{Value, json};

const FILE: &str = "docker-compose.yml";
const CONFIG: &str = "docker/hindsight.toml";
const SET_UP: &str = "docker/set-up.sh";
const EXAMPLE: &str = ".env.example";

#[test]
fn it_is_a_compose_file_by_the_specification() {
    assert_eq!(faults(&composed()), None);
}

#[test]
fn a_file_that_is_none_is_refused() {
    let wrong: [(&str, &str, Value); 5] = [
        ("/services/mysql", "port", json!(["127.0.0.1:3306:3306"])),
        ("/services/capture/depends_on/kafka", "condition", json!(true)),
        ("/services/kafka/healthcheck", "retries", json!({})),
        ("/services/set-up/build", "stage", json!("set-up")),
        ("", "service", json!({})),
    ];
    for (place, key, value) in wrong {
        let mut file = composed();
        let found = file.pointer_mut(place).and_then(Value::as_object_mut);
        found.unwrap_or_else(|| panic!("{FILE} has no {place}")).insert(key.to_owned(), value);
        assert!(faults(&file).is_some(), "{place}/{key} was taken");
    }
}

#[test]
fn every_variable_is_in_the_example_and_each_of_those_is_used() {
    let used: BTreeSet<String> = texts(&composed()).iter().flat_map(|text| variables(text)).collect();
    let known: BTreeSet<String> = example().into_keys().collect();
    assert_eq!(used, known, "what {FILE} uses, and what {EXAMPLE} has");
}

#[test]
fn a_password_and_a_version_stand_in_no_other_file_than_the_example() {
    for (name, service) in services() {
        for (variable, value) in environment(&service) {
            assert!(!variable.contains("PASSWORD") || value.starts_with("${"), "{name}: {variable} is {value}");
        }
        let image = service["image"].as_str().expect("each service has an image");
        assert!(service.get("build").is_some() || image.ends_with("_TAG}"), "{name}: {image} names a version itself");
    }
    let config = read(CONFIG);
    let secrets = config.lines().filter(|line| line.starts_with("url") || line.starts_with("password"));
    assert!(secrets.clone().all(|line| line.contains("${env:")) && secrets.count() == 2, "{CONFIG} holds a password");
    for (file, ignores) in [(".gitignore", "/.env"), (".dockerignore", "/.env")] {
        assert!(read(file).lines().any(|line| line == ignores), "{file} does not ignore {ignores}");
    }
}

/// With the variables that a container of a half gets, and those only.
#[test]
fn the_configuration_is_one_that_the_program_reads_and_its_servers_listen_where_it_looks_for_them() {
    let services = services();
    let example = example();
    for half in ["capture", "apply", "set-up"] {
        let passed: BTreeMap<String, String> = environment(&services[half]);
        let passed: BTreeMap<String, String> =
            passed.into_iter().map(|(name, value)| (name, filled(&value, &example))).collect();
        let config = Config::parse(Path::new(CONFIG), &read(CONFIG), &|name| passed.get(name).cloned());
        let config = config.unwrap_or_else(|faults| panic!("{half}: {faults}"));

        let SourceKind::Mysql(mysql) = &config.source.kind else { panic!("the source is no server") };
        let [url] = mysql.urls.as_slice() else { panic!("one server is composed") };
        let (account, server) = url.value.trim_start_matches("mysql://").rsplit_once('@').expect("account@server");
        assert_eq!(account.split_once(':').expect("name:password").1, example["MYSQL_PASSWORD"]);
        let brokers = &config.topic.as_ref().expect("a topic is between the halves").brokers;
        let SinkKind::StarRocks(starrocks) = &config.sink.kind else { panic!("the history is not in StarRocks") };
        assert_eq!(starrocks.password, example["STARROCKS_PASSWORD"]);

        assert_eq!(server, "mysql:3306");
        assert_eq!(brokers, &["kafka:9092"]);
        assert_eq!(starrocks.frontends[0].to_string(), "starrocks:8030");
        assert_eq!(starrocks.mysql[0].to_string(), "starrocks:9030");
        // Redirects go to the backend of the same container.
        assert_eq!(starrocks.redirect_host.as_deref(), Some("starrocks"));
    }
    let kafka = environment(&services["kafka"]);
    assert!(kafka["KAFKA_LISTENERS"].split(',').any(|listener| listener == "PLAINTEXT://:9092"));
    assert!(kafka["KAFKA_ADVERTISED_LISTENERS"].split(',').any(|listener| listener == "PLAINTEXT://kafka:9092"));
}

#[test]
fn ports_are_on_the_loopback_interface_only_and_lead_to_where_the_servers_listen() {
    let example = example();
    let mut published = BTreeSet::new();
    for (name, service) in services() {
        for port in strings(&service["ports"]) {
            let port = filled(&port, &example);
            let parts: Vec<&str> = port.split(':').collect();
            let ["127.0.0.1", host, container] = parts[..] else { panic!("{name}: port {port}") };
            let numbers = [host, container].map(|number| number.parse::<u16>().expect("a port"));
            published.insert((name.clone(), numbers[1]));
        }
    }
    let expected = [("kafka", 19092), ("mysql", 3306), ("starrocks", 8030), ("starrocks", 9030)];
    assert_eq!(published, expected.map(|(name, port)| (name.to_owned(), port)).into());
    // A client outside is sent to where the broker says that it is.
    let kafka = environment(&services()["kafka"]);
    assert!(kafka["KAFKA_LISTENERS"].split(',').any(|listener| listener == "HOST://:19092"));
    let outside = "HOST://127.0.0.1:${KAFKA_PORT}";
    assert!(kafka["KAFKA_ADVERTISED_LISTENERS"].split(',').any(|listener| listener == outside));
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains("\nENTRYPOINT [\"hindsight\"]\n"), "commands are arguments of the program");
    for (name, half) in [("capture", Half::Capture), ("apply", Half::Apply)] {
        let command = strings(&services()[name]["command"]);
        match cli(&command).command {
            Command::Run(run) => {
                assert_eq!((run.only, run.file.config.as_path()), (Some(half), Path::new(defaults::FILE)));
            }
            other => panic!("{name} is {other:?}"),
        }
        let check = strings(&services()[name]["healthcheck"]["test"]);
        assert_eq!(check[..2], ["CMD", "hindsight"], "{name}");
        assert!(matches!(cli(&check[2..]).command, Command::Status(_)), "{name}: {check:?}");
    }
    // A command in a script or on a page is a line's end, or what stands in $(…).
    let mut n_commands = 0;
    for page in [SET_UP, "README.md", CONFIG, "docs/docker.md"] {
        let text = read(page);
        let composed = text.match_indices("docker compose exec ").map(|(at, command)| &text[at + command.len()..]);
        let in_containers = composed.filter_map(|rest| {
            let (service, rest) = rest.split_once(' ').expect("a service and a command");
            assert!(services().contains_key(service), "{page}: there is no service {service}");
            rest.strip_prefix("hindsight ")
        });
        let in_scripts = text.match_indices("$(hindsight ").map(|(at, command)| &text[at + command.len()..]);
        for rest in in_containers.chain(in_scripts) {
            let end = rest.find(['\n', '`', ')', '|', '#']).unwrap_or(rest.len());
            let words: Vec<String> = rest[..end].split_whitespace().map(str::to_owned).collect();
            cli(&words);
            n_commands += 1;
        }
    }
    assert!(n_commands >= 3, "{n_commands} commands were found");
}

#[test]
fn what_it_mounts_builds_and_waits_for_is_there() {
    let (file, services) = (composed(), services());
    let dockerfile = read("Dockerfile");
    let volumes = file["volumes"].as_object().expect("volumes");
    let mut mounted = BTreeSet::new();
    for (name, service) in &services {
        for volume in strings(&service["volumes"]) {
            let parts: Vec<&str> = volume.split(':').collect();
            if let Some(path) = parts[0].strip_prefix("./") {
                assert!(repository().join(path).is_file(), "{name} mounts {path}");
                // Where a folder is missing on one side, an engine makes one: a file has to be named on both.
                assert_eq!(Path::new(path).file_name(), Path::new(parts[1]).file_name(), "{name}: {volume}");
                assert_eq!(parts.get(2), Some(&"ro"), "{name}: {volume}");
            } else {
                assert!(volumes.contains_key(parts[0]), "{name}: volume {} is not declared", parts[0]);
                mounted.insert(parts[0].to_owned());
            }
        }
        if let Some(target) = service["build"]["target"].as_str() {
            assert!(dockerfile.lines().any(|line| line.ends_with(&format!(" AS {target}"))), "no stage {target}");
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let other = services.get(other).unwrap_or_else(|| panic!("{name} waits for {other}"));
            match how["condition"].as_str() {
                Some("service_healthy") => assert!(other.get("healthcheck").is_some(), "{name} would wait for ever"),
                Some("service_completed_successfully") => assert_eq!(other["restart"], "no"),
                other => panic!("{name} waits for {other:?}"),
            }
        }
    }
    assert_eq!(mounted, volumes.keys().cloned().collect(), "each volume is mounted");
    // Commands without a path read the configuration of the current folder.
    let at_home = format!("./{CONFIG}:/etc/hindsight/{}:ro", defaults::FILE);
    for name in ["capture", "apply", "set-up"] {
        assert!(strings(&services[name]["volumes"]).contains(&at_home), "{name} does not mount {at_home}");
    }
    let stages = dockerfile.split("\nFROM ").filter(|stage| !stage.contains(" AS build"));
    for stage in stages.skip(1) {
        assert!(stage.contains("\nWORKDIR /etc/hindsight\n") && stage.contains("\nUSER 10001:10001\n"), "{stage}");
    }
}

/// The script is told each variable that it uses.
#[test]
fn the_set_up_gets_every_variable_that_it_names() {
    let passed = environment(&services()["set-up"]);
    let script = read(SET_UP);
    let code: Vec<&str> = script.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let code = code.join("\n");
    let named = code.split('$').skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    });
    let named: BTreeSet<&str> = named.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())).collect();
    assert_eq!(named, passed.keys().map(String::as_str).collect());
}

fn cli(arguments: &[String]) -> Cli {
    let words = std::iter::once("hindsight").chain(arguments.iter().map(String::as_str));
    Cli::try_parse_from(words).unwrap_or_else(|error| panic!("hindsight {}: {error}", arguments.join(" ")))
}

/// What the specification's schema has against a file; none: nothing.
fn faults(file: &Value) -> Option<String> {
    const NAME: &str = "compose-spec.json";
    let schema: Value = serde_json::from_str(&read("tests/fixtures/compose-spec.json")).expect("the schema is JSON");
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.set_default_draft(Draft::V7);
    compiler.add_resource(NAME, schema).expect("add the schema");
    let schema = compiler.compile(NAME, &mut schemas).expect("compile the schema");
    schemas.validate(file, schema).err().map(|error| format!("{error:#}"))
}

/// The file, with what it says once for several places in each of them.
fn composed() -> Value {
    serde_saphyr::from_str(&read(FILE)).unwrap_or_else(|error| panic!("{FILE}: {error}"))
}

fn services() -> BTreeMap<String, Value> {
    let file = composed();
    let services = file["services"].as_object().expect("services").clone();
    services.into_iter().collect()
}

/// The variables that a container gets.
fn environment(service: &Value) -> BTreeMap<String, String> {
    let variables = service["environment"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    variables.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.map(|item| item.as_str().expect("a list of strings").to_owned()).collect()
}

/// All strings of a file, in which Compose puts variables in.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(entries) => entries.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The names in `${NAME}` and `${NAME:?what to do}`; `$$` is a plain `$`.
fn variables(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    filled_by(text, &mut |name| {
        names.push(name.to_owned());
        String::new()
    });
    names
}

/// A text as Compose uses it.
fn filled(text: &str, values: &BTreeMap<String, String>) -> String {
    filled_by(text, &mut |name| values.get(name).unwrap_or_else(|| panic!("{name} has no value")).clone())
}

fn filled_by(text: &str, value: &mut dyn FnMut(&str) -> String) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        if let Some(after) = after.strip_prefix('$') {
            (out, rest) = (out + "$", after);
            continue;
        }
        let (inner, after) = after.strip_prefix('{').and_then(|after| after.split_once('}')).unwrap_or_else(|| {
            panic!("{text:?}: a variable is written ${{NAME}}, a plain $ as $$");
        });
        let (name, how) = inner.split_once(':').unwrap_or((inner, "?"));
        assert!(how.starts_with('?'), "{text:?}: a default belongs into {EXAMPLE}");
        out += &value(name);
        rest = after;
    }
    out + rest
}

fn example() -> BTreeMap<String, String> {
    let text = read(EXAMPLE);
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once('=').unwrap_or_else(|| panic!("{EXAMPLE}: {line}")));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}
