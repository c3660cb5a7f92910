# %% [markdown]
# # Into gem5
#
# gem5's binary is not part of this project. What needs none is here: a unit as gem5 reads it, one tile's work
# as a trace, and the runs that are committed.

# %%
from sailsim import load_system
from sailsim.sim.gem5.binary import gem5_unit

print("\n".join(gem5_unit(load_system("sail-n1")).splitlines()[:8]))

# %% [markdown]
# A tile is one descriptor's work. The reference says its results, and `time_tile` how long a unit takes.

# %%
import numpy as np

from sailsim import Tile, WeightCode, gemv, time_tile

random = np.random.default_rng(0)
x = random.integers(-128, 128, (2, 512), dtype=np.int8)
codes = random.integers(0, 16, (512, 96), dtype=np.uint8)
tile = Tile(x=x, codes=codes, code=WeightCode.twos(4), abits=8, nbw=4)
assert (tile.expected() == gemv(x, codes, code=tile.code, abits=8)).all()
for memory in ("port", "chip", "dram"):
    print(f"{memory:>5} {time_tile(load_system('sail-n1'), tile, memory).cycles:8.0f} cycles")

# %% [markdown]
# gem5 ran whole tokens, and their cycles are committed. The fast engine's are beside them; on the line both
# are equal.

# %%
import pandas as pd

from sailsim.analysis.studies.gem5_steps import every_row

rows = pd.DataFrame(row for row in every_row() if row["linears"] == "lutmm" and not row["blocks"])
rows["ratio"] = rows["engine_cycles"] / rows["step_cycles"]
axes = rows.plot.scatter(x="step_cycles", y="engine_cycles", loglog=True)
ends = [rows["step_cycles"].min(), rows["step_cycles"].max()]
axes.plot(ends, ends, color="black", linewidth=1)
print(f"{len(rows)} steps, engine over gem5: {rows.ratio.min():.2f} to {rows.ratio.max():.2f}")

# %% [markdown]
# With a gem5 that has the module (docs/gem5.md), the command is `sailsim gem5 validate --gem5 PATH`.
