"""CPU time of other tools on the rows that `cargo xtask bench data-parquet` and `data-csv` write.

    RA_REC_BENCH=DIR cargo xtask bench data     # writes DIR/log.parquet and DIR/log.csv.zst
    pip install duckdb polars pandas pyarrow zstandard
    python docs/lab/peers/bench_data.py DIR [duckdb|polars|pandas]
    python docs/lab/peers/bench_data.py DIR rows 100     # writes DIR/log-100.parquet, 100 million rows of the same kind

5-core, leave-one-out by time and row, five buckets of training popularity: in memory, and with reading. One thread.
"""
import os, resource, sys, time

os.environ.setdefault("POLARS_MAX_THREADS", "1")
FOLDER, TOOLS = sys.argv[1], sys.argv[2:] or ["duckdb", "polars", "pandas"]
PARQUET, CSV = f"{FOLDER}/log.parquet", f"{FOLDER}/log.csv.zst"


def duckdb_run(source):
    import duckdb

    c = duckdb.connect()
    c.execute("set threads=1")
    if not isinstance(source, str):
        frame = source
        c.register("log", frame)
        source = "log"
    elif source.endswith(".parquet"):
        source = f"read_parquet('{source}')"
    else:
        source = f"read_csv('{source}')"
    c.execute(f'create table x as select "user" u, item i, ts t, row_number() over () r from {source}')
    while True:
        n = c.execute("select count(*) from x").fetchone()[0]
        c.execute("create or replace table y as select x.* from x join (select u from x group by u having count(*)>=5) using(u)")
        c.execute("create or replace table x as select y.* from y join (select i from y group by i having count(*)>=5) using(i)")
        if c.execute("select count(*) from x").fetchone()[0] == n:
            break
    c.execute("create table z as select *, row_number() over (partition by u order by t desc, r desc) back from x")
    parts = [c.execute(f"select count(*) from z where {w}").fetchone()[0] for w in ("back>2", "back=2", "back=1")]
    c.execute("create table p as select i, (row_number() over (order by c desc, i)-1)*5 // (count(*) over ()) b "
              "from (select i, count(*) c from z where back>2 group by i)")
    return (*parts, *map(int, c.execute("select count(*), sum(b) from p").fetchone()))


def polars_run(source):
    import polars as pl

    if not isinstance(source, str):
        d = pl.DataFrame({name: source[name].to_numpy() for name in source.columns})
    else:
        d = pl.read_parquet(source) if source.endswith(".parquet") else pl.read_csv(source)
    d = d.with_row_index("r")
    while True:
        n = d.height
        d = d.filter(pl.len().over("user") >= 5).filter(pl.len().over("item") >= 5)
        if d.height == n:
            break
    d = d.sort(["user", "ts", "r"]).with_columns(back=pl.len().over("user") - 1 - pl.int_range(pl.len()).over("user"))
    train = d.filter(pl.col("back") >= 2)
    rank = train.group_by("item").len("c").sort(["c", "item"], descending=[True, False]).with_row_index("k")
    buckets = rank.select(pl.col("k").cast(pl.Int64) * 5 // pl.len()).sum().item()
    return train.height, d.filter(pl.col("back") == 1).height, d.filter(pl.col("back") == 0).height, rank.height, buckets


def pandas_run(source):
    import numpy as np, pandas as pd

    if not isinstance(source, str):
        d = source.copy()
    else:
        d = pd.read_parquet(source) if source.endswith(".parquet") else pd.read_csv(source)
    d["r"] = np.arange(len(d))
    while True:
        n = len(d)
        d = d[d.groupby("user")["item"].transform("size") >= 5]
        d = d[d.groupby("item")["user"].transform("size") >= 5]
        if len(d) == n:
            break
    d = d.sort_values(["user", "ts", "r"])
    back = d.groupby("user").cumcount(ascending=False).to_numpy()
    train = d[back >= 2]
    rank = train["item"].value_counts().reset_index().sort_values(["count", "item"], ascending=[False, True])
    buckets = int((np.arange(len(rank)) * 5 // len(rank)).sum())
    return len(train), int((back == 1).sum()), int((back == 0).sum()), len(rank), buckets


def write_rows(millions):
    import numpy as np, pyarrow as pa, pyarrow.parquet as pq

    rng, out = np.random.default_rng(0), None
    for _ in range(millions):
        n = 1_000_000
        u = (rng.pareto(1.2, n) * 20000 * millions / 10).astype(np.int64) % (100_000 * millions)
        i = (rng.pareto(1.0, n) * 5000).astype(np.int64) % 300_000
        columns = {"user": u.astype(np.int32), "item": i.astype(np.int32), "ts": rng.integers(0, 10**9, n)}
        table = pa.table(columns)
        out = out or pq.ParquetWriter(f"{FOLDER}/log-{millions}.parquet", table.schema, compression="zstd")
        out.write_table(table)
    out.close()


def main():
    if TOOLS[0] == "rows":
        return write_rows(int(TOOLS[1]))
    import pandas as pd

    memory = pd.read_parquet(PARQUET)
    for tool in TOOLS:
        run = {"duckdb": duckdb_run, "polars": polars_run, "pandas": pandas_run}[tool]
        for name, source in (("memory", memory), ("parquet", PARQUET), ("csv.zst", CSV)):
            start, found = time.process_time(), run(source)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"{tool:8} {name:8} {time.process_time() - start:6.2f} CPU s, peak so far {peak} MiB, {found}", flush=True)


main()
