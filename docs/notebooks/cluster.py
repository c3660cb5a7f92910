# %% [markdown]
# # A study on a cluster
#
# A study is a folder. The same cell again goes on where it was stopped, and what is there is not simulated
# again. Here Dask's workers evaluate its points: one on this machine stands for many.

# %%
from pathlib import Path
from tempfile import mkdtemp

from sailsim import ResultFolder, expand, sweep

folder = Path(mkdtemp()) / "study"
points = expand([{"model": ["smollm2-135m"], "wbits": [2, 8], "batch": [1, 4, 16], "context": [512]}])
len(points)

# %% [markdown]
# With workers of your own, name their scheduler's address; nothing else changes.

# %%
from distributed import LocalCluster

from sailsim.sim.study.workers import Dask

here = {"protocol": "tcp", "processes": False, "n_workers": 1, "threads_per_worker": 1}
with LocalCluster(**here, dashboard_address=None) as cluster, Dask(cluster.scheduler_address) as workers:
    sweep(points, folder, jobs=workers)

# %% [markdown]
# The folder is what one takes along. Its manifest says how it was made.

# %%
results = ResultFolder(folder)
print(results.kind, results.store.manifest["points"], "points")
table = results.frame("runner = 'sail'").pivot(index="batch", columns="wbits", values="tokens_per_s")
table.round(0)

# %% [markdown]
# How many times as fast are two bits as eight? A small model waits for its cores at any width.

# %%
times = table[2] / table[8]
axes = times.plot(marker="o", logx=True, ylabel="2 bits over 8 bits", title="What fewer bits give")
axes.axhline(1, color="black", linewidth=1)
