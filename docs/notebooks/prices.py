# %% [markdown]
# # Prices: what a dollar buys
#
# Prices are a CSV file with instance, machines, hour's price and source. The shipped list is of 2025.

# %%
from sailsim import Point, compare, prices

listed = prices()
for row in listed.rows[:4]:
    print(row.instance, row.usd_per_hour, row.source, row.date)

# %% [markdown]
# A run that uses a part of a server pays for that part: its cores, or its share of the memory's bandwidth.
# What has no price has none here, never 0.

# %%
point = Point(model="llama-2-7b", wbits=4, batch=8, threads=16, context=512)
frame = compare(point).frame().set_index("runner")
columns = ["title", "tokens_per_s", "usd_per_hour", "tokens_per_usd_bandwidth", "paid"]
frame.loc[["sail", "cores", "cores-best", "l4", "v100"], columns]

# %% [markdown]
# A list of your own takes the place of the shipped one, whole. Here a GPU is cheaper by half.

# %%
from pathlib import Path
from tempfile import mkdtemp

import pandas as pd

mine = Path(mkdtemp()) / "mine.csv"
table = pd.DataFrame(vars(row) for row in listed.rows)
table["machines"] = table["machines"].map(" ".join)
table.loc[table["chip"].str.contains("L4"), ["usd_per_hour", "source"]] = 0.4, "what if"
table.to_csv(mine, index=False)
other = compare(point, price_list=prices(mine)).frame().set_index("runner")
print(f"L4: {frame.usd_per_hour['l4']:.3f} -> {other.usd_per_hour['l4']:.3f} dollars an hour")

# %% [markdown]
# SAIL's tokens per dollar over each runner's, at both prices. Left of 1 the other is cheaper.

# %%
ratios = pd.DataFrame({"shipped": frame.usd_ratio_bandwidth, "mine": other.usd_ratio_bandwidth})
shown = ratios.loc[["cores", "cores-best", "l4", "v100"]]
axes = shown.plot.barh(xlabel="SAIL's tokens per dollar over it", ylabel="")
axes.axvline(1, color="black", linewidth=1)
