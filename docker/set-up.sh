#!/bin/sh
# Makes what the pipeline of docker-compose.yml needs: the source table and hindsight's account in MySQL, its database, account and
# tables in StarRocks. Run again it changes nothing but the accounts' passwords.
set -eu

mysql() {
    MYSQL_PWD=$MYSQL_ROOT_PASSWORD mariadb --host=mysql --user=root --batch --skip-column-names "$@"
}

starrocks() {
    mariadb --host=starrocks --port=9030 --user=root --batch --skip-column-names "$@"
}

echo "MySQL: the account hindsight"
mysql <<SQL
CREATE DATABASE IF NOT EXISTS shop;
CREATE USER IF NOT EXISTS 'hindsight'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
ALTER USER 'hindsight'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'hindsight'@'%';
GRANT SELECT ON shop.* TO 'hindsight'@'%';
SQL

# Only with the table: rows that somebody has deleted do not come back.
if [ -z "$(mysql --execute="SHOW TABLES FROM shop LIKE 'item_assets'")" ]; then
    echo "MySQL: the table shop.item_assets"
    # The key on owner_id is what the rule tells entities by: with it the first rows are read in chunks, all of an owner at once.
    mysql shop <<SQL
CREATE TABLE item_assets (
  id INT PRIMARY KEY,
  owner_id INT NOT NULL,
  asset_info VARCHAR(255) NOT NULL,
  registered_at DATETIME NOT NULL,
  KEY (owner_id)
);
INSERT INTO item_assets VALUES
  (1, 123, 'laptop 4, room 12', '2024-05-08 09:00:00'),
  (2, 123, 'badge 77', '2024-06-16 13:08:14'),
  (3, 456, 'printer 23, room 30', '2024-11-28 04:50:57');
SQL
fi

# label_keep_max_num: what became of a load is asked for by its label, also after a restart, and by default StarRocks remembers the
# last 1000 only. It does not keep this setting over a restart; fe.conf would.
echo "StarRocks: the database history and the account hindsight"
starrocks <<SQL
CREATE DATABASE IF NOT EXISTS history;
CREATE USER IF NOT EXISTS 'hindsight'@'%' IDENTIFIED BY '$STARROCKS_PASSWORD';
ALTER USER 'hindsight'@'%' IDENTIFIED BY '$STARROCKS_PASSWORD';
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN DATABASE history TO USER 'hindsight'@'%';
ADMIN SET FRONTEND CONFIG ("label_keep_max_num" = "100000");
SQL

echo "StarRocks: the tables"
statements=$(hindsight ddl --buckets 2 --replication 1)
n_tries=30
# A backend that is alive says some seconds later that it has disks; until then no table can be made.
until printf '%s\n' "$statements" | sed 's/^CREATE TABLE /&IF NOT EXISTS /' | starrocks history; do
    n_tries=$((n_tries - 1))
    [ "$n_tries" -gt 0 ] || exit 1
    sleep 2
done

echo "all is there"
