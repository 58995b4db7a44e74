//! `SHOW CREATE TABLE` as StarRocks prints it.

use super::Table;

pub fn create_statement(table: &Table) -> String {
    let mut lines = Vec::new();
    for column in &table.columns {
        let mut line = format!("  `{}` {}", column.name, column.kind.name());
        line += if column.nullable { " NULL" } else { " NOT NULL" };
        if let Some(default) = &column.default {
            line += &format!(" DEFAULT \"{default}\"");
        }
        line += &format!(" COMMENT \"{}\"", column.comment.as_deref().unwrap_or_default());
        lines.push(line);
    }
    let keys: Vec<String> = table.keys().iter().map(|column| column.name.clone()).collect();
    let mut text = format!("CREATE TABLE `{}` (\n{}\n) ENGINE=OLAP \n", table.name, lines.join(",\n"));
    text += &format!("PRIMARY KEY({})\n", quoted(&keys));
    if let Some(comment) = &table.comment {
        text += &format!("COMMENT \"{comment}\"\n");
    }
    let distributed_by = if table.distributed_by.is_empty() { &keys } else { &table.distributed_by };
    text += &format!("DISTRIBUTED BY HASH({})", quoted(distributed_by));
    if let Some(buckets) = table.buckets {
        text += &format!(" BUCKETS {buckets} ");
    }
    text += "\n";
    if !table.order_by.is_empty() {
        text += &format!("ORDER BY({})\n", quoted(&table.order_by));
    }
    let mut properties = table.properties.clone();
    for (key, value) in [("compression", "LZ4"), ("enable_persistent_index", "true"), ("replication_num", "1")] {
        if !properties.iter().any(|(known, _)| known == key) {
            properties.push((key.into(), value.into()));
        }
    }
    properties.sort();
    let properties: Vec<String> = properties.iter().map(|(key, value)| format!("\"{key}\" = \"{value}\"")).collect();
    text + &format!("PROPERTIES (\n{}\n);", properties.join(",\n"))
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
