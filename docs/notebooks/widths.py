# %% [markdown]
# # Widths: what fewer bits cost
#
# Fewer bits are faster and lose more. The losses here were measured once, on SmolLM2-135M in the units' own
# arithmetic, and are committed; `sailsim quality MODEL.gguf` measures those of your file.

# %%
from sailsim.analysis.runs.equal_quality import at_equal_quality, measured_points

points = measured_points()
alike = points[(points.abits == 8) & (points.kv_bits == 16) & (points.method == "nearest")]
print(
    alike[["weights", "bits_per_weight", "perplexity", "loss"]]
    .sort_values("loss")
    .head(8)
    .to_string(index=False)
)

# %% [markdown]
# Speed by width at batch 1, where each bit counts.

# %%
from sailsim import sweep

results = sweep(model="llama-2-7b", wbits=[3, 4, 6, 8], context=512)
records = results.frame(columns=[*results.frame(), "speedup", "speedup_of"])
records = records[records["runner"].isin(["sail", "cores"])]

# %% [markdown]
# `at_equal_quality` takes for each runner the width at which it is fastest and loses no more. The loss of one
# model stands for another's here, which was not measured.

# %%
table = records[["runner", "wbits", "tokens_per_s"]].join(at_equal_quality(records))
table[table["runner"] == "cores"].dropna()

# %%
import matplotlib.pyplot as plt

for runner, own in table.dropna(subset="loss").groupby("runner"):
    plt.plot(own.loss, own.tokens_per_s, marker="o", label=runner)
    for row in own.itertuples():
        plt.annotate(f"{row.wbits}", (row.loss, row.tokens_per_s))
plt.xscale("symlog", linthresh=0.1)
plt.xlabel("loss, nats a token (of SmolLM2-135M)")
plt.ylabel("tokens/s, Llama-2-7B")
plt.legend()
