# %% [markdown]
# # One point, from a question to its parts
#
# What does the server's cache give for Llama-2-7B in 4 bits? A `Point` is the question; everything that it
# does not say has the value of `sailsim run`.

# %%
from sailsim import Point, compare, simulate

point = Point(model="llama-2-7b", wbits=4, batch=8, threads=16, context=512)
step = simulate(point)
print(f"{step.tokens_per_s:.1f} tokens/s, {1e3 * step.step_s:.1f} ms a step")

# %% [markdown]
# Where does the step go? Phases add up to it. What the units do is measured in their cycles and hidden
# behind the stream of weights where it can be; `cores` is what stays on the cores, attention above all.

# %%
for phase, seconds in step.breakdown.items():
    print(f"{phase:>10} {1e3 * seconds:7.2f} ms {seconds / step.step_s:6.1%}")
assert abs(sum(step.breakdown.values()) / step.step_s - 1) < 1e-9

# %% [markdown]
# Beside it, everything that runs the same point: software on the same cores, and cards. A runner that
# cannot has a reason in place of a number.

# %%
runs = compare(point)["runs"]
for name in ("sail", "cores", "cores-best", "v100", "v100-serving"):
    run = runs[name]
    print(f"{run['title']:>22} {run['tokens_per_s']:8.1f} tokens/s, SAIL is {run['speedup']:.2f}x")

# %% [markdown]
# And if attention were as fast as in Ampere's fork of llama.cpp? The same machine with other software on
# its cores is a runner too.

# %%
fast = runs["sail-ampere"]["tokens_per_s"]
print(f"{fast:.1f} tokens/s, {fast / step.tokens_per_s:.2f} times as many")
