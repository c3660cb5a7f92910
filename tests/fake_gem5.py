"""A program that answers as gem5 does, for tests of what surrounds it: no simulation, made-up numbers.

FAKE_GEM5 says how it behaves: good (default), no_module, silent, panic,
hang, killed, untraced, truncated, full, refused, wrong; for the decode program also unmarked, other_clock and
no_units. FAKE_GEM5_LOG names a file that gets a line for every run, FAKE_GEM5_SEGMENTS the folder in which a
hanging one leaves its shared memory, FAKE_GEM5_LOGITS a file with the logits that decode gives and
FAKE_GEM5_TOKENS the tokens of a row.
"""

import json
import os
import signal
import sys
from itertools import pairwise
from pathlib import Path

STATISTICS = ("build", "lookup", "convert", "writeBack", "weightStall")
REGIONS = ("embed", "norm", "quantise", "qkv", "rope", "attention", "o", "ffn", "head", "sample")
GROUP = "8: system.units: pass 0 group 0: load 0..9 start 9 build 4 lookup 2 convert 0 write-back 1\n"
behaviour = os.environ.get("FAKE_GEM5", "good")
at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
words, program = sys.argv[1:at], sys.argv[at + 1 :]


def given(option: str, default: str = "") -> str:
    return words[words.index(option) + 1] if option in words else default


folder = Path(given("-d"))
script = next(Path(word) for word in words if word.endswith(".py"))

if script.name == "check_module.py":
    if behaviour != "silent":
        module = behaviour != "no_module"
        found = {"sailsim_module": module, "version": "24.0.0.1", "compiled": "Nov 24 2026"}
        print(json.dumps(found))
    sys.exit(0)

if "FAKE_GEM5_LOG" in os.environ:
    with Path(os.environ["FAKE_GEM5_LOG"]).open("a") as log:
        log.write(script.name + " " + folder.name + "\n")
if behaviour == "untraced" and any(word.startswith("--debug-flags=") for word in words):
    sys.exit("fatal: Tracing is not enabled.  Compile with TRACING_ON")
if behaviour == "panic":
    print("src/sail.cc:1: panic: it went wrong", flush=True)  # abort() flushes nothing
    os.abort()
if behaviour == "full":
    sys.exit("cannot write stats.txt: No space left on device")
if behaviour == "hang":
    if "FAKE_GEM5_SEGMENTS" in os.environ:  # as of a run that is stopped before preload.place
        Path(os.environ["FAKE_GEM5_SEGMENTS"], f"sailsim-gem5-{os.getpid()}").touch()
    (folder / "pid").write_text(str(os.getpid()))
    while True:
        signal.pause()
if behaviour == "killed":
    os.kill(os.getpid(), signal.SIGKILL)

BEGIN = "---------- Begin Simulation Statistics ----------"
END = "---------- End Simulation Statistics   ----------"


def decode(options: dict[str, str], pim: int) -> list[str]:
    """What the decode program prints, and the statistics of its three dumps: until the measured part, of it,
    and at the end."""
    linears, threads = options["linears"], int(options["threads"])
    if behaviour == "refused":
        print("error: a unit did not answer within --timeout-ms")
        return [BEGIN, END]
    tokens = ";".join([os.environ.get("FAKE_GEM5_TOKENS", options["context"])] * int(options["batch"]))
    if "logits" in options:
        assert options["logits"].startswith("/proc/self/")  # which gem5 redirects into the run's folder
        there = folder / "proc-self" / Path(options["logits"]).name
        there.parent.mkdir(exist_ok=True)
        there.write_bytes(Path(os.environ["FAKE_GEM5_LOGITS"]).read_bytes())
    other = linears if behaviour == "wrong" else ""
    cycles = {"neon": 160, "lut": 320, "lutmm": 80}[linears] * 1000 // threads * int(options["batch"])
    print(json.dumps({"thread": 0}))
    report = {
        "linears": linears,
        "tokens": tokens,
        "logits": f"{options['context']}{other}",
        "image_bytes": 640,
        "emulated": int(behaviour == "no_units"),
        **{f"{region}_cycles": cycles // len(REGIONS) for region in REGIONS},
        **{"barrier_cycles": 7, "units_cycles": 11, "step_cycles": cycles},
        "clock_mhz": 3000 if behaviour == "other_clock" else 2500,
    }
    for what, seconds in (("begins", "3.00"), ("ends", "11.00")):
        print(f"measured part {what} after {seconds} s of processor time")
    print(json.dumps(report))
    stats = []
    for instructions, ticks, seconds in ((1000, 10, 2.0), (5000, 1000000, 8.0), (6000, 1000001, 8.5)):
        stats += [BEGIN, f"simInsts {instructions} # (Count)", f"hostSeconds {seconds} # (Second)"]
        stats += [f"{name} {ticks} # (Tick)" for name in ("simTicks", "system.memory0.dram.bytesRead::total")]
        stats += [f"system.units{unit:02d}.buildCycles 5 # (Cycle)" for unit in range(pim)]
        stats.append(END)
    return stats[: len(stats) // 3] if behaviour == "unmarked" else stats


json.loads((folder / "machine.json").read_text())
stats = ["", BEGIN]
if script.name == "replay_trace.py":
    assert Path(given("--trace")).stat().st_size > 0
    units = int(given("--units", "1"))
    rows = ["tile,unit,k,n,batch,status,detail,cycles,lookups,prt_hits,good,rung_ps,answered_ps"]
    status, good = (4 if behaviour == "refused" else 1), int(behaviour != "wrong")
    for unit in range(units):
        rows.append(f"{unit},{unit},4096,128,1,{status},0,{70000 + unit},8192,0,{good},0,{40000000 + unit}")
        stats += [
            f"system.units{unit}.stageTicks::{stage} 1000000 # (Tick)" for stage in ("operands", "results")
        ]
        for name in STATISTICS:
            number = f"{unit:02d}" if units > 1 else ""
            stats.append(f"system.units{number}.{name}Cycles  {len(name) + 6}  # a sentence (Cycle)")
    (folder / "tiles.csv").write_text("\n".join(rows) + "\n")
    if any(word.startswith("--debug-flags=SailPimGroups") for word in words):
        (folder / "debug.txt").write_text(GROUP)
elif Path(program[0]).name == "decode":
    assert program[1:3] == ["--image", "model.image"], program
    assert Path(given("--preload")).stat().st_size > 0
    options = {name[2:]: value for name, value in pairwise(program) if name.startswith("--")}
    units = int(given("--units", "32"))
    assert int(options.get("units", 32)) == (units or 32)
    stats = decode(options, units)
    (folder / "stats.txt").write_text("\n".join(stats) + "\n")
    print("sailsim-gem5: exiting with last active thread context at 40000000 ps, exit status 0")
    sys.exit(int(behaviour == "refused"))
else:
    if "--simpoint-interval" in words:
        (folder / "simpoint.bb").write_text("T:1:7 :2:3\nT:1:10\n")
    print(
        json.dumps({"kind": "read", "array_bytes": 4096, "bytes": 4000, "last_ns": 200, "ns_per_load": 5.0})
    )
if behaviour != "truncated":
    stats.append(END)
(folder / "stats.txt").write_text("\n".join(stats) + "\n")
for place in filter(None, given("--checkpoint").split(",")):
    there = folder / "checkpoints" / place
    there.mkdir(parents=True, exist_ok=True)
    for name in ("m5.cpt", "sailsim.json"):
        (there / name).write_text(place)
    print(f"checkpoint at 5 ps in {there}")
wrong = behaviour in ("wrong", "refused")
print(f"sailsim-gem5: replay done{' with errors' * wrong} at 40000000 ps, exit status {int(wrong)}")
sys.exit(int(wrong))
