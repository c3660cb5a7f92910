# %% [markdown]
# # An accelerator of your own
#
# A machine's file names another accelerator and its values. This one extends the GDDR6 device that ships,
# with half the clock in its banks; `runners` puts files beside everybody else.

# %%
from pathlib import Path
from tempfile import mkdtemp

mine = Path(mkdtemp()) / "slow-banks.toml"
value = '{ value = 2, unit = "ns", source = "what if", kind = "assumed", low = 1, high = 2, note = "slower" }'
_ = mine.write_text(f"""extends = "aim-n1"
name = "slow-banks"
title = "AiM, half the clock"
accelerator.compute = {value}
accelerator.tccd = {value}
""")

# %%
from sailsim import Point, compare, runners

point = Point(model="llama-2-7b", wbits=4, batch=1, threads=16, context=512)
every = runners([mine, "aim-n1", "hbm-pim-n1", "neural-cache-n1", "upmem-n1"])
answer = compare(point, runners=every)
frame = answer.frame().set_index("runner")
frame.loc[["slow-banks", "aim-n1"], ["title", "tokens_per_s", "low", "high", "speedup"]]

# %% [markdown]
# Accelerators beside SAIL at batch 1. None of these rates was measured. A black line is the range over values
# that are not published, where the device has such.

# %%
names = ["sail", *frame.index[-5:]]
chosen = frame.loc[names]
axes = chosen.plot.barh(x="title", y="tokens_per_s", legend=False, xlabel="tokens/s", ylabel="")
axes.hlines(range(len(chosen)), chosen.low, chosen.high, color="black")
axes.invert_yaxis()

# %% [markdown]
# Who cannot run the point has a reason. What the simulator does not know of a device it says, and prints no 0
# for it.

# %%
for reason in chosen.reason[chosen.reason != ""]:
    print("-", reason)
for note, names in answer["notes"].items():
    if "not modelled" in note and "upmem-n1" in names:
        print("-", note)
