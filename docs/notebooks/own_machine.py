# %% [markdown]
# # A machine of your own
#
# A machine is a file that may extend one that ships. In Python, `vary` gives a machine with other values, and
# a point or a sweep takes it where a name stands.

# %%
from sailsim import Point, load_system, simulate, sweep
from sailsim.sim.machine.system_files import vary

nominal = load_system("sail-n1")
point = Point(model="llama-2-7b", wbits=4, batch=8, threads=16, context=512)
nominal.pim

# %% [markdown]
# Every value has a unit, a source and a kind. An assumed one also has a range, with the reason.

# %%
arrays = nominal.pim.arrays
print(f"{arrays}, {arrays.kind}, {arrays.low} to {arrays.high}")
print(arrays.note)

# %% [markdown]
# Which of them would matter at this point? Each bar is a machine that differs in one value.

# %%
import pandas as pd

CHANGES = {"pim.t_prt": 0, "llc.slices": 16, "pim.arrays": 8, "pim.clock": 3.6, "memory.channels": 4}
base = simulate(point).tokens_per_s
other = {
    f"{field} = {value}": simulate(point.replace(system=vary(nominal, {field: value}))).tokens_per_s
    for field, value in CHANGES.items()
}
more = pd.Series(other) / base - 1
(100 * more).plot.barh(xlabel="% more tokens/s than sail-n1")

# %% [markdown]
# A sweep takes machines as values of an axis. Its records name each by what differs.

# %%
systems = [nominal, vary(nominal, {"pim.clock": 3.6}), "sail-v2"]
results = sweep(system=systems, model="smollm2-135m", context=64)
results.frame("runner = 'sail'", ["system", "tokens_per_s", "low", "high"])

# %% [markdown]
# `sailsim show system sail-n1:pim.clock=3.6 --as toml > mine.toml` writes such a machine as a file.
