# %% [markdown]
# # Another machine, and what decides
#
# What if a hit in the pattern reuse table were free, the arrays slower, or there were fewer slices? A
# machine is a file that may extend one that ships; in Python, `vary` gives a machine with other values, and
# every number keeps its unit, its source and its range.

# %%
from sailsim import Point, load_system
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import vary
from sailsim.workloads.load import load_model

nominal, model = load_system("sail-n1"), load_model("llama-2-7b")
point = Point(model="llama-2-7b", wbits=4, batch=8, threads=16, context=512)


def tokens_per_s(changes: dict[str, float]) -> float:
    """Of the nominal machine with other values."""
    return simulate_step(vary(nominal, changes), model, point).tokens_per_s


base = tokens_per_s({})
for field, value in (("pim.t_prt", 0), ("llc.slices", 16), ("pim.arrays", 8), ("memory.channels", 4)):
    other = tokens_per_s({field: value})
    print(f"{field:>16} = {value:<3} {other:6.1f} tokens/s ({other / base - 1:+.1%})")

# %% [markdown]
# Which of them is a guess? Every value says: its kind is measured, paper, derived, fitted or assumed, and
# an assumed one has a range and a reason.

# %%
quantity = nominal.pim.arrays
print(quantity.value, quantity.unit, quantity.kind, quantity.low, quantity.high)
print(quantity.note)

# %% [markdown]
# A substrate, a kind of SRAM that computes, is a choice as well.

# %%
for substrate in ("row_dfm", "bit_serial", "bit_parallel"):
    found = simulate_step(nominal, model, Point(model="llama-2-7b", batch=8, substrate=substrate))
    print(f"{substrate:>13} {found.tokens_per_s:6.1f} tokens/s")
