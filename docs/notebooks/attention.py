# %% [markdown]
# # Attention on the units
#
# SAIL as published leaves attention to the cores. With whole numbers in the cache the units can do its
# products too: `attention="units"` with `kv_bits` 2 to 8. From which context on does that pay?

# %%
from sailsim import sweep

results = sweep(
    model="llama-3.1-8b", wbits=4, batch=8, kv_bits=8, threads=16,
    context=[256, 2048, 16384], attention=["cores", "units"],
)  # fmt: skip
frame = results.frame("runner = 'sail'")
rates = frame.pivot(index="context", columns="attention", values="tokens_per_s")
rates.round(1)

# %%
rates.plot(marker="o", logx=True, logy=True, ylabel="tokens/s", title="Who does attention, batch 8")

# %% [markdown]
# Both have a cache of eight bits, so that the comparison is of who multiplies and of nothing else. The cores'
# code matters as much: beside it stands the same machine with this project's attention code.

# %%
others = results.frame("attention = 'cores' and runner in ('sail', 'sail-neon', 'cores')")
others.pivot(index="context", columns="title", values="tokens_per_s").round(1)

# %% [markdown]
# A shorter cache loses quality too: eight bits lose nothing that can be seen, four a quarter of a nat
# (quality page). Where time goes at the longest context:

# %%
for row in frame[frame["context"] == 16384].itertuples():
    longest = sorted(row.phases, key=row.phases.get, reverse=True)[:3]
    print(row.attention, {name: f"{1e3 * row.phases[name]:.0f} ms" for name in longest})
