"""A run whose vectors are given, of any size: python3 gen_vectors.py DIR [items dim] (numpy).

Writes DIR/log.csv, DIR/items.csv, DIR/vectors.npy and the recipe DIR/vectors.toml: 2,000 users with 12 items each, one
with all items so that the catalogue has them, and vectors of length 1 that are normal around 1,000 centres, all of which
lean the same way, as in `cargo xtask bench serve-scan`. Ids are i0, i1 and so on. Seed 7. Then, in DIR:

    ra-rec run vectors.toml && ra-rec export --run runs/vectors --row import --to bundle && ra-rec serve --bundle bundle
"""
import sys
import numpy as np

folder = sys.argv[1]
items, dim = (int(x) for x in (sys.argv[2:4] or (1_000_000, 384)))
rng = np.random.default_rng(7)
lean, centres = rng.standard_normal(dim, np.float32), rng.standard_normal((1000, dim), np.float32)
vectors = np.lib.format.open_memmap(f"{folder}/vectors.npy", "w+", np.float32, (items, dim))
for start in range(0, items, 100_000):
    part = np.arange(start, min(start + 100_000, items))
    rows = rng.standard_normal((len(part), dim), np.float32) + centres[part % 1000] + lean
    vectors[part] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
vectors.flush()
with open(f"{folder}/items.csv", "w") as file:
    file.write("item,title\n")
    file.writelines(f"i{n},title {n}\n" for n in range(items))
with open(f"{folder}/item_ids.txt", "w") as file:
    file.writelines(f"i{n}\n" for n in range(items))
with open(f"{folder}/log.csv", "w") as file:
    file.write("user,item,ts\n")
    for user in range(2000):
        file.writelines(f"u{user},i{item},{1700000000 + n}\n" for n, item in enumerate(rng.integers(0, items, 12)))
    file.writelines(f"all,i{item},{1700000000 + item}\n" for item in range(items))
with open(f"{folder}/vectors.toml", "w") as file:
    file.write(
        """[data]
name = "vectors"
interactions = "log.csv"
items = "items.csv"
k_core = 0

[[id]]
kind = "import"
items = "vectors.npy"
item_ids = "item_ids.txt"

[eval]
rows = ["id"]
"""
    )
