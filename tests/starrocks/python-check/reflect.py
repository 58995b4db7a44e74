"""Reflects a table by StarRocks' dialect for SQLAlchemy and selects from it.

args: MySQL port, database, table; prints one line of JSON: the columns, the primary key, what the dialect knows of the
table, and the rows in the order of the key.
"""

import json
import sys

from sqlalchemy import MetaData, Table, create_engine, func, inspect, select, text

port, database, name = sys.argv[1:]
engine = create_engine(f"starrocks://root:@127.0.0.1:{port}/{database}")
with engine.connect() as connection:
    table = Table(name, MetaData(), autoload_with=connection)
    columns = [[column.name, str(column.type), column.nullable] for column in table.columns]
    options = {key: str(value) for key, value in table.dialect_options["starrocks"].items() if value is not None}
    key = inspect(connection).get_pk_constraint(name)["constrained_columns"]
    rows = [[str(value) for value in row] for row in connection.execute(select(table).order_by(*table.primary_key))]
    n_rows = connection.execute(select(func.count()).select_from(table)).scalar()
    names = [row[0] for row in connection.execute(text("SHOW TABLES"))]
    print(json.dumps({
        "columns": columns, "key": key, "distributed_by": options.get("distributed_by"), "rows": rows, "n_rows": n_rows,
        "tables": names, "version": list(engine.dialect.server_version_info), "mode": engine.dialect.run_mode,
    }))
