# %% [markdown]
# # An array of your own
#
# What an array does in how many cycles is a data sheet of some lines, a *substrate*. Three ship. A fourth is
# written here: the rows of `row_dfm`, with an adder that takes a cycle a bit.

# %%
from pathlib import Path
from tempfile import mkdtemp

mine = Path(mkdtemp()) / "slow-adder.toml"
_ = mine.write_text(
    """extends = "row_dfm"
name = "slow-adder"
title = "row_dfm with a bit-serial adder"

[costs.add]
value = [0, 1]
unit = "cycles"
source = "what if"
kind = "assumed"
low = 1
high = [0, 2]
note = "one cycle a bit"
"""
)

# %% [markdown]
# Its path stands where a name stands, here as an axis.

# %%
from sailsim import sweep

NAMES = ["row_dfm", mine, "bit_serial", "bit_parallel"]
results = sweep(model="llama-2-7b", substrate=NAMES, batch=[1, 8], context=512)
frame = results.frame("runner = 'sail'")
frame["substrate"] = [Path(name).stem for name in frame["substrate"]]
rates = frame.pivot(index="substrate", columns="batch", values="tokens_per_s")
print(rates.round(1).to_string())
rates.plot.barh(xlabel="tokens/s", ylabel="", title="SAIL by its arrays, batch 1 and 8")

# %% [markdown]
# The phases at batch 1 say why: the slower adder lengthens the building of tables, which a larger batch would
# share.

# %%
import pandas as pd

first = frame[frame["batch"] == 1]
phases = pd.DataFrame(first["phases"].tolist(), index=first["substrate"]) * 1e3
parts = ["dram", "load", "build", "lookup", "convert", "cores"]
phases[parts].drop("bit_parallel").plot.barh(stacked=True, xlabel="ms of a step", ylabel="")

# %% [markdown]
# Other costs alone need no file: `substrate="row_dfm:add=8n-2"` is one too.
