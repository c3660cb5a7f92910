"""Many tasks, kept in a folder: one way to run, stop and go on, from a laptop to a cluster (docs/studies.md).

Reading order: `chunks` and `folder` (what is on disk), `tasks` (what is evaluated), `workers` (by whom),
`run` (all of it together), `origin` (by which code), `collect` (tidying up). `scan` (reading much of it) is
not loaded with the rest: Arrow's data sets load pandas, which takes as long as everything else here.
"""

from sailsim.base.progress import Report, logged_as_json, reporter
from sailsim.sim.study.chunks import RESERVED
from sailsim.sim.study.collect import Dropped, collect, unasked_records
from sailsim.sim.study.folder import Store, command_of, now
from sailsim.sim.study.origin import code_version, commit, versions
from sailsim.sim.study.run import TRIES, OpenStudy, opened, run_study
from sailsim.sim.study.tables import as_frame, parquet_bytes
from sailsim.sim.study.tasks import MEMBER, Task
from sailsim.sim.study.workers import WorkerLostError, Workers, in_parallel, workers_of

__all__ = [
    "MEMBER",
    "RESERVED",
    "TRIES",
    "Dropped",
    "OpenStudy",
    "Report",
    "Store",
    "Task",
    "WorkerLostError",
    "Workers",
    "as_frame",
    "code_version",
    "collect",
    "command_of",
    "commit",
    "in_parallel",
    "logged_as_json",
    "now",
    "opened",
    "parquet_bytes",
    "reporter",
    "run_study",
    "unasked_records",
    "versions",
    "workers_of",
]
