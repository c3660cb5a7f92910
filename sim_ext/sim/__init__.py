"""Machines as data, the fast engine, sweeps and their results.

Reading order: `quantity` (a number with its source), `substrate` (what the arrays are), `unit` (a PIM unit as
text), `cores`, `memory`, `pim` and `system` (what a machine is), `vary` (one with other values), `tables`,
`system_choice`, `files` and `saved` (reading and writing it), `point` (what one run is), `schedule` (cores,
PIM units and DRAM from event to event), `patterns` and `engine` (one decode step), `replay` (a trace),
`ranges`, `grid` and `plan` (many points from few words), `keys`, `study` and `sweep` (many runs, on disk).
"""

from sailsim.base.quantity import UNITS, Choice, Frozen, Quantity
from sailsim.sim.backend import backend_names, backend_of, software_stacks
from sailsim.sim.engine import PHASES, StepResult, StepTime, simulate_prefill, simulate_step, time_step
from sailsim.sim.files import (
    as_system,
    card_names,
    json_schema,
    load_card,
    load_machine,
    load_system,
    system_names,
)
from sailsim.sim.keys import point_key, result_key
from sailsim.sim.pim import unit_text
from sailsim.sim.plan.file import expand, load_plan, load_preset, parse_plan, preset_names, preset_plan
from sailsim.sim.plan.plan import Drawn, Plan, plan_of
from sailsim.sim.point import Point
from sailsim.sim.ranges import parse_numbers, parse_values
from sailsim.sim.replay import TraceResult, simulate_trace
from sailsim.sim.saved import save_system, system_toml
from sailsim.sim.set_fields import SetField, set_fields, set_values
from sailsim.sim.study import Store, code_version, commit, versions
from sailsim.sim.substrate import Substrate, load_substrate, substrate_names
from sailsim.sim.sweep import run_sweep, sweep_keys
from sailsim.sim.system import Gpu, System
from sailsim.sim.system_choice import SystemChoice, system_with
from sailsim.sim.tiles import COUNTS
from sailsim.sim.vary import (
    changed_values,
    leaves,
    leaves_and_words,
    on_substrate,
    parse_changes,
    value_of,
    values,
    vary,
)

__all__ = [
    "COUNTS",
    "PHASES",
    "UNITS",
    "Choice",
    "Drawn",
    "Frozen",
    "Gpu",
    "Plan",
    "Point",
    "Quantity",
    "SetField",
    "StepResult",
    "StepTime",
    "Store",
    "Substrate",
    "System",
    "SystemChoice",
    "TraceResult",
    "as_system",
    "backend_names",
    "backend_of",
    "card_names",
    "changed_values",
    "code_version",
    "commit",
    "expand",
    "json_schema",
    "leaves",
    "leaves_and_words",
    "load_card",
    "load_machine",
    "load_plan",
    "load_preset",
    "load_substrate",
    "load_system",
    "on_substrate",
    "parse_changes",
    "parse_numbers",
    "parse_plan",
    "parse_values",
    "plan_of",
    "point_key",
    "preset_names",
    "preset_plan",
    "result_key",
    "run_sweep",
    "save_system",
    "set_fields",
    "set_values",
    "simulate_prefill",
    "simulate_step",
    "simulate_trace",
    "software_stacks",
    "substrate_names",
    "sweep_keys",
    "system_names",
    "system_toml",
    "system_with",
    "time_step",
    "unit_text",
    "value_of",
    "values",
    "vary",
    "versions",
]
