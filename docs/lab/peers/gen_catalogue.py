"""A made-up catalogue as large as the paper's.

    pip install numpy polars
    python docs/lab/peers/gen_catalogue.py DIR [users items interactions]

80,000 users, 1,040,000 items with titles of 5 to 11 words, 4,200,000 interactions with times. Items are drawn with a
long tail (rank^-0.6). Writes DIR/log.parquet (user, item, ts) and DIR/items.parquet (item, title). Seed 7.
"""

import sys
import numpy as np, polars as pl

folder = sys.argv[1]
U, I, N = (int(x) for x in (sys.argv[2:5] or (80_000, 1_040_000, 4_200_000)))
rng = np.random.default_rng(7)
words = np.array(
    (
        "adjustable aluminum ankle antique apple baby bag ball bamboo band bar basket bath battery bead bed belt "
        "black blue board boot bottle bowl box brass bronze brush bucket cable camera canvas card care case ceramic "
        "chain chair charger classic clock coat coffee collar cotton cover cream crystal cup curtain deluxe denim "
        "desk digital dog door dress drill electric fabric fan felt filter flannel floral foam folding fork frame "
        "garden glass glove gold gray green grill hair handle hat heavy hook hoodie iron jacket jar jeans kettle kids "
        "kit kitchen knife lace lamp large leather led lens light linen lock magnetic marble mask mat mens metal mini "
        "mirror modern mug nail natural navy neck nylon oak oil organic outdoor oven pad paint pan pants paper party "
        "pen phone pillow pink plastic plate pocket portable pot powder premium print pro puzzle rack red replacement "
        "ring rope round rubber rug safety sandals satin scarf screen set shirt shoes shorts silicone silk silver "
        "skirt sleeve small socks soft spoon square stand steel stone storage strap suede sweater table tank tape "
        "thermal tie tool towel toy travel tray vest vintage wall wallet warm watch water waterproof white wide "
        "winter wireless womens wood wool yellow zipper"
    ).split()
)
titles = [" ".join(words[rng.integers(0, len(words), n)]) for n in rng.integers(5, 12, I)]
pl.DataFrame({"item": [f"B{i:07d}" for i in range(I)], "title": titles}).write_parquet(f"{folder}/items.parquet")
share = 1 / np.arange(1, I + 1) ** 0.6
item = rng.permutation(I)[rng.choice(I, N, p=share / share.sum())]
user, ts = rng.integers(0, U, N), rng.integers(1_300_000_000, 1_400_000_000, N)
pl.DataFrame({"user": [f"A{x:06d}" for x in user], "item": [f"B{x:07d}" for x in item], "ts": ts}).write_parquet(
    f"{folder}/log.parquet"
)
