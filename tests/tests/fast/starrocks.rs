//! Loads into StarRocks: the client against a stand-in that plays the cluster and its faults.

mod faults;
mod values;

use std::sync::OnceLock;
use std::time::Duration;

use hindsight::history::HistorySchema;
use hindsight::rows::{Rows, Value};
use hindsight::sink::starrocks::cluster::{Cluster, Door};
use hindsight::sink::starrocks::ddl::{self, TableOptions};
use hindsight::sink::starrocks::http::{Access, Address};
use hindsight::sink::starrocks::load::{Compression, Loader, Target};
use hindsight::sink::starrocks::rows::RowWriter;
use hindsight_tests::reference::history;
use hyper::body::Bytes;
use starrocks_stand_in::{Settings, StandIn};

const DATABASE: &str = "history";
const PASSWORD: &str = "se:cret";

/// A body has to be asked for within this time; a test does not wait as long as a user does.
const CONTINUE_MAX: Duration = Duration::from_millis(500);

/// One cluster for all tests; each has tables of its own.
fn cluster() -> &'static StandIn {
    static CLUSTER: OnceLock<StandIn> = OnceLock::new();
    CLUSTER.get_or_init(|| started(Settings::default()))
}

fn started(settings: Settings) -> StandIn {
    let users = [("loader".to_owned(), PASSWORD.to_owned()), ("root".to_owned(), String::new())].into();
    StandIn::start(Settings { users, database: Some(DATABASE.into()), ..settings }).expect("start the stand-in")
}

fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

/// Makes the history's table.
fn make(cluster: &StandIn, table: &str, history: &HistorySchema) {
    let options = TableOptions { buckets: 2, replication_num: 1, sequence: None };
    let statement = ddl::create_table(&format!("{DATABASE}.{table}"), history, &options).expect("every type is known");
    cluster.sql(&statement.replacen(&format!("`{DATABASE}.{table}`"), &format!("`{DATABASE}`.`{table}`"), 1)).unwrap();
}

fn loader(cluster: &StandIn, table: &str) -> Loader {
    Loader::new(target(cluster, table))
}

fn target(cluster: &StandIn, table: &str) -> Target {
    let mut access = Access::new("loader", PASSWORD, vec!["127.0.0.1".into()], None);
    access.continue_max = CONTINUE_MAX;
    Target {
        frontends: cluster.ports().fe.iter().map(|port| address(*port)).collect(),
        access,
        database: DATABASE.into(),
        table: table.into(),
        compression: Compression::None,
        sequence: None,
        load_max: Duration::from_secs(5),
    }
}

fn door(cluster: &StandIn) -> Cluster {
    let at = vec![address(cluster.ports().mysql[0])];
    let (user, password, database) = ("loader".into(), PASSWORD.into(), DATABASE.into());
    Cluster::new(Door { at, user, password, database, redirect_host: None })
}

/// The body of a load of these rows into a table.
async fn body(door: &mut Cluster, table: &str, history: &HistorySchema, rows: &Rows) -> Bytes {
    let (columns, key) = door.table(table).await.expect("look at the table").expect("it is there");
    let columns = ddl::compare(history, &columns, &key, None).expect("it is as the rule writes it");
    let mut body = Vec::new();
    let writer = RowWriter::new(history, &columns, None);
    writer.write(&mut body, &Rows::new(history.primary_key.len()), rows, 0).expect("every value fits");
    body.into()
}

/// A current row of the default rule.
fn row(id: i64, owner: i64, start_us: i64) -> [Value<'static>; 7] {
    let (id, owner, start) = (Value::Int(id), Value::Int(owner), Value::Int(start_us));
    [id, owner, start, Value::Text("pump"), Value::Null, Value::Int(1), Value::Text("c")]
}
