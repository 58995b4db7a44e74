//! A history in StarRocks: whether its tables are there, and take what the rule writes.

use super::report::{Area, Line};
use crate::assemble;
use crate::config::{Config, StarRocksConfig};
use crate::sink::starrocks::cluster::Cluster;
use crate::sink::starrocks::{ddl, letters, sql};

pub async fn look(config: &Config, starrocks: &StarRocksConfig) -> Area {
    let mut lines = Vec::new();
    let mut cluster = Cluster::new(assemble::starrocks::door(starrocks));
    let at = config.sink.place();
    match cluster.once("SHOW TABLES").await {
        Ok(_) => {
            lines.push(Line::green("frontend", format!("{at} answers")));
            lines.push(history(config, starrocks, &mut cluster).await);
            lines.push(dead_letters(&mut cluster).await);
            lines.push(labels(&mut cluster).await);
        }
        Err(error) => lines.push(Line::red("frontend", at, error.to_string())),
    }
    lines.extend(http(config, starrocks).await);
    Area { name: format!("sink: StarRocks table {}.{}", starrocks.database, config.sink.table), lines }
}

async fn history(config: &Config, starrocks: &StarRocksConfig, cluster: &mut Cluster) -> Line {
    let table = &config.sink.table;
    let (columns, key) = match cluster.table(table).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let line = Line::red("table", table.clone(), "it is not there".into());
            return line.with("Make it with what `hindsight ddl` prints");
        }
        Err(error) => return Line::red("table", table.clone(), error.to_string()),
    };
    let plan = match assemble::configured_plan(config).await {
        Ok(plan) => plan,
        Err(failure) => {
            let found = format!("{table}, {} columns", columns.len());
            return Line::yellow("table", found, format!("what the rule writes is not known: {failure}"));
        }
    };
    let sequence = starrocks.sequence.as_deref();
    match ddl::compare(&plan.history, &columns, &key, sequence) {
        Ok(found) => match ddl::narrow(&plan.history, &found) {
            narrow if narrow.is_empty() => Line::green("table", format!("{table}, as the rule writes it")),
            narrow => {
                let why =
                    "a VARCHAR counts bytes there, and characters in MySQL: a text that does not fit is set aside";
                Line::yellow("table", format!("{table}: {}", narrow.join(", ")), why.into())
            }
        },
        Err(differences) => Line::red("table", table.clone(), differences.join("; "))
            .with("Make one with what `hindsight ddl` prints, or name another sink.table"),
    }
}

async fn dead_letters(cluster: &mut Cluster) -> Line {
    match cluster.once(&sql::any_row(letters::TABLE, None)).await {
        Ok(_) => Line::green("dead letters", letters::TABLE),
        Err(error) => Line::red("dead letters", letters::TABLE, error.to_string())
            .with("Make the table with what `hindsight ddl` prints"),
    }
}

/// A few minutes of loads, at the least.
const LABELS_MIN: u64 = 10_000;

async fn labels(cluster: &mut Cluster) -> Line {
    const NAME: &str = "label_keep_max_num";
    match cluster.setting(NAME).await.and_then(|keeps| keeps.parse::<u64>().ok()) {
        Some(keeps) if keeps < LABELS_MIN => {
            let why = "after so many loads of the database StarRocks has forgotten what became of one: with a rule that is not \
                       replay-safe, and without sink.sequence-column, a run is refused where that is too few";
            Line::yellow("labels", format!("{NAME} = {keeps}"), why.into())
                .with_statement(format!("ADMIN SET FRONTEND CONFIG (\"{NAME}\" = \"100000\")"))
        }
        Some(keeps) => Line::green("labels", format!("{NAME} = {keeps}")),
        None => Line::yellow("labels", NAME, "this user is not told how many loads StarRocks remembers".into()),
    }
}

async fn http(config: &Config, starrocks: &StarRocksConfig) -> Vec<Line> {
    let loader = assemble::starrocks::loader(config, starrocks);
    let mut lines = Vec::new();
    for (frontend, answer) in loader.health().await {
        lines.push(match answer {
            Ok(()) => Line::green("fe", format!("{frontend} answers")),
            Err(why) => Line::red("fe", frontend.to_string(), why).with("Is [sink] fe a frontend's port 8030?"),
        });
    }
    lines
}
