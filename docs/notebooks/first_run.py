# %% [markdown]
# # First run: who is fastest, and why
#
# A `Point` is one question: machine, model, widths, batch, threads, context. What it leaves out has the
# default of `sailsim run`. `compare` asks everybody who can run it.

# %%
from sailsim import Point, compare, simulate

point = Point(model="llama-2-7b", wbits=4, batch=8, threads=16, context=512)
answer = compare(point)
answer

# %% [markdown]
# `speedup` is SAIL's rate over that runner's, with the same attention code on both. † marks what only a
# simulator has run. Black lines are 90 % ranges; SAIL's is over what is not published of it.

# %%
frame = answer.frame().set_index("runner").loc[["sail", "sail-neon", "cores", "cores-best", "l4", "v100"]]
axes = frame.plot.barh(x="title", y="tokens_per_s", legend=False, xlabel="tokens/s", ylabel="")
axes.hlines(range(len(frame)), frame.low, frame.high, color="black")
axes.invert_yaxis()

# %% [markdown]
# The phases of a step add up to it. The longest decides; here it is attention and other work on the cores.

# %%
step = simulate(point)
for phase, seconds in step.breakdown.items():
    print(f"{phase:>10} {1e3 * seconds:7.2f} ms {seconds / step.step_s:6.1%}")

# %% [markdown]
# Would fewer bits help? `sweep` runs one point for each width and keeps a row a runner.

# %%
from sailsim import sweep

widths = sweep(model="llama-2-7b", wbits=[2, 4, 8], batch=[1, 8], context=512)
rates = widths.frame("runner = 'sail'").pivot(index="wbits", columns="batch", values="tokens_per_s")
rates.plot(marker="o", ylabel="tokens/s", title="SAIL by width, batch 1 and 8", ylim=(0, None))
