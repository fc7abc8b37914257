#!/usr/bin/env python3
"""Loads the items of a bundle into PostgreSQL with pgvector, and compares its lists with the bundle's own.

    pip install "psycopg[binary]" pyarrow
    ra-rec recommend --bundle BUNDLE --row ROW --histories LOG --top 10 --vectors --out lists.parquet
    python3 pgvector.py BUNDLE LOG lists.parquet "postgresql://user@host/database"

The row must be one whose whole score is a product of vectors, such as `ra-rec` or a variant taught by another row, and
the first of the bundle (`ra-rec export --row ROW`), because items.parquet holds the vectors of the first row. If you
have no server, `pip install pgserver` brings one with pgvector: give a folder in place of the address.
"""
import csv
import json
import pathlib
import sys

import psycopg
import pyarrow.parquet as parquet

TOP = 10
TABLE = "ra_rec_items"


def address(where):
    """Returns the address of a server; a folder is that of one of its own."""
    if "://" in where:
        return where
    import pgserver

    return pgserver.get_server(pathlib.Path(where)).get_uri()


def text(vector):
    """Returns a vector as pgvector writes it, with every digit that a float32 has."""
    return "[" + ",".join(format(x, ".9g") for x in vector) + "]"


def load(connection, bundle):
    """Makes a table of the items: id, title, popularity and vector. It lasts as long as the connection."""
    items = parquet.read_table(bundle / "items.parquet").to_pydict()
    width = len(items["vector"][0])
    if width > 2000:
        sys.exit(f"{bundle}: vectors of {width} numbers; pgvector indexes at most 2000")
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        cursor.execute(
            f"CREATE TEMPORARY TABLE {TABLE} "
            f"(item text PRIMARY KEY, title text, popularity int, vector vector({width})) ON COMMIT PRESERVE ROWS"
        )
        with cursor.copy(f"COPY {TABLE} FROM STDIN") as copy:
            for row in zip(items["item"], items["title"], items["popularity"], items["vector"]):
                copy.write_row((row[0], row[1], row[2], text(row[3])))
    connection.commit()
    return len(items["item"])


def seen(log):
    """Returns the items of each user of a log in CSV or TSV with the columns user and item."""
    found = {}
    with open(log, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t" if log.suffix == ".tsv" else ","):
            found.setdefault(row["user"], set()).add(row["item"])
    return found


def main():
    bundle, log, lists, where = (pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4])
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    histories = seen(log)
    table = parquet.read_table(lists).to_pydict()
    ours, vectors = {}, {}
    columns = [table[name] for name in ("user", "item", "score", "vector", "fallback")]
    for user, item, score, vector, fallback in zip(*columns):
        if fallback:  # by popularity, not by vectors
            continue
        ours.setdefault(user, []).append((item, score))
        if vector:
            vectors[user] = vector
    with psycopg.connect(address(where)) as connection:
        count = load(connection, bundle)
        same, agree, apart = 0, 0, 0.0
        for user, vector in vectors.items():
            rows = connection.execute(
                f"SELECT item, -(vector <#> %s::vector) FROM {TABLE} WHERE item <> ALL(%s) "
                f"ORDER BY vector <#> %s::vector LIMIT {TOP}",
                (text(vector), list(histories.get(user, ())), text(vector)),
            ).fetchall()
            own = ours[user][:TOP]
            same += [item for item, _ in rows] == [item for item, _ in own]
            agree += len({item for item, _ in rows} & {item for item, _ in own})
            apart = max([apart] + [abs(a[1] - b[1]) for a, b in zip(rows, own)])
    print(f"{manifest['name']}, row {manifest['rows'][0]['name']}: {count} items, {len(vectors)} users")
    print(f"same list of {TOP}: {same} users; items in common: {agree} of {TOP * len(vectors)}")
    print(f"scores differ by at most {apart:.2e}")


if __name__ == "__main__":
    main()
