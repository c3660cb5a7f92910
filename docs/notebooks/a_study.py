# %% [markdown]
# # A study: many points, one question
#
# From which batch on does a wider weight cost nothing? A study is a folder. The same cell again goes on
# where it was stopped, and what is there is not simulated again.

# %%
from pathlib import Path
from tempfile import mkdtemp

from sailsim import sweep
from sailsim.sim.plan import expand

folder = Path(mkdtemp())
grid = {
    "model": ["llama-2-7b"],
    "wbits": [2, 4, 8],
    "batch": [1, 2, 4, 8, 16],
    "context": [512],
    "threads": [16],
}
results = sweep(expand([grid]), folder)

# %% [markdown]
# A frame has a row for each point and runner; joined columns, as `speedup`, are there where they are named.

# %%
frame = results.frame("runner = 'sail'", ["wbits", "batch", "tokens_per_s"])
table = frame.pivot(index="batch", columns="wbits", values="tokens_per_s")
print(table.round(1).to_string())

# %% [markdown]
# How many times as fast two bits are as eight.

# %%
times = table[2] / table[8]
print(times.round(2).to_string())
assert times.round(3).is_monotonic_decreasing

# %% [markdown]
# At batch 1 the step waits for weights, so that each bit counts; from batch 8 on conversion and attention
# take the time, which no width changes. A figure of one's own is one line more.

# %%
axes = table.plot(marker="o", logx=True, ylabel="tokens/s", title="SAIL by batch, for 2, 4 and 8 bits")
axes.figure.savefig(folder / "mine.png")
