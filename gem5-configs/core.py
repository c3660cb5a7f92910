# SPDX-License-Identifier: BSD-3-Clause
"""A Neoverse-N1 core, within the limits of gem5's out-of-order model.

Widths, queues and latencies come from the system file. Other parameters are here, each with its source.
"""

from math import ceil

from m5.objects import (
    LTAGE,
    FUDesc,
    FUPool,
    OpDesc,
    SailAtomicSimpleCPU,
    SailMinorCPU,
    SailO3CPU,
    SailTimingSimpleCPU,
)

# Cycles that gem5's O3 pipeline adds to the first-level cache's latency of a load. Fitted with
# workloads/kernels/memory/pointer_chase.
LOAD_OVERHEAD = 1
# Part of `mispredict` in stages of the model itself (decode, rename, dispatch, issue, commit and the way
# back); assumed from its default delays.
FRONT_END_OVERHEAD = 8
# Most micro-operations per instruction in gem5: 1.01 to 1.36 in 16 inner loops (simOps over simInsts), as a
# load of two vectors has three; without the halves of sim_ext/gem5/decoder.cc. `fetch_width` counts
# instructions, gem5's front end micro-operations.
MICRO_OPERATIONS = 1.36

CPU_MODELS = {
    "atomic": SailAtomicSimpleCPU,
    "timing": SailTimingSimpleCPU,
    "minor": SailMinorCPU,
    "o3": SailO3CPU,
}


VECTOR = {
    "any": {
        1: "SimdPredAlu",
        2: "SimdAdd SimdAddAcc SimdAlu SimdCmp SimdFloatAdd SimdFloatAlu SimdFloatCmp FloatAdd",
        3: "SimdFloatMisc SimdFloatMult FloatCvt FloatMult FloatMisc",
        5: "SimdFloatReduceAdd SimdFloatReduceCmp",
    },
    "fma": {"fma_latency": "SimdFloatMultAcc FloatMultAcc"},
    "table": {"table_latency": "SimdMisc"},
    "convert": {4: "SimdCvt SimdFloatCvt"},
    "multiply": {4: "SimdMult SimdMultAcc"},
    "divide": {-10: "SimdDiv SimdSqrt SimdFloatDiv FloatDiv", -12: "SimdFloatSqrt FloatSqrt"},
    "first": {
        2: "FloatCmp SimdAes SimdAesMix SimdSha1Hash SimdShaSigma2 SimdShaSigma3",
        4: "SimdSha1Hash2 SimdSha256Hash SimdSha256Hash2",
    },
    "shift": {2: "SimdShift", 3: "SimdReduceAdd", 4: "SimdShiftAcc", 6: "SimdReduceAlu SimdReduceCmp"},
}
"""Operation classes of the vector pipes by kind and latency, or a system file's name of it; negative: not
pipelined. Latencies and pipes are LLVM's (AArch64SchedNeoverseN1.td, AArch64SchedNeoverseV2.td), which has
them from Arm's optimisation guides.

The decoder of SailO3CPU (sim_ext/gem5/decoder.cc) splits classes of gem5. Conversions, roundings, MUL and MLA
of 128 bits and sums of bytes across lanes are two micro-operations, as they hold a pipe for two cycles.
Saturating narrowing and SADALP are shifts with accumulation; a maximum across lanes is a reduction. Remaining
differences:
- SimdAlu: SDOT. 2 cycles; an N1 forwards a chain of accumulators after 1.
- SimdMult, SimdMultAcc: MUL and MLA of 128 bits give their result after 4 cycles instead of 5.
- SimdMisc: DUP from an integer register, which an N1 has on an integer pipe.
Stores take no vector pipe in gem5.
"""
PIPES = {
    2: {
        "any": "01", "fma": "011", "table": "01", "convert": "0", "multiply": "0", "divide": "0",
        "first": "0", "shift": "1",
    },
    4: {
        "any": "0123", "fma": "0123", "table": "01", "convert": "02", "multiply": "02", "divide": "02",
        "first": "0", "shift": "13",
    },
}  # fmt: skip
"""Pipes V0, V1, ... for each kind of `VECTOR`, by `cores.simd_pipes`: the Neoverse N1's and the V2's. gem5
rotates among free pipes, also to V0 while a conversion waits for it; a pipe named twice gets two turns."""
OTHERS = {2: (3, 1, 2), 4: (6, 2, 3)}
"""Execution units by `cores.simd_pipes`: simple integer units including those for branches, integer units
that also multiply, and ports for loads."""


def _unit(count, latencies):
    """Description of `count` execution units for operation classes by latency."""
    operations = [
        OpDesc(opClass=name, opLat=abs(latency), pipelined=latency > 0)
        for latency, names in latencies
        for name in names.split()
    ]
    return FUDesc(count=count, opList=operations)


def _vector_pipes(cores):
    """Description of each vector pipe's unit.

    Raises ValueError for a number of pipes without a table, and for a pipe that does not exist.
    """
    count = int(cores["simd_pipes"])
    if count not in PIPES:
        raise ValueError(
            f"cores.simd_pipes is {count}; allowed with O3 cores are {' and '.join(map(str, PIPES))}"
        )
    pipes = PIPES[count]
    for kind in VECTOR:
        missing = set(pipes.get(kind, "-")) - set(map(str, range(count)))
        if missing:
            raise ValueError(f"{kind} is on port V{min(missing)}; allowed are V0..V{count - 1}")
    return [
        _unit(
            1,
            [
                (cores.get(latency, latency), names)
                for kind, classes in VECTOR.items()
                for _ in range(pipes[kind].count(str(pipe)))
                for latency, names in classes.items()
            ],
        )
        for pipe in range(count)
    ]


def _execution_units(cores):
    """Functional-unit pool of a core: integer units, load/store units, and the vector pipes."""
    pipes = _vector_pipes(cores)
    simple, multiplying, memory = OTHERS[len(pipes)]
    pool = FUPool()
    pool.FUList = [
        _unit(simple, [(1, "IntAlu")]),
        _unit(multiplying, [(1, "IntAlu"), (2, "IntMult"), (-12, "IntDiv")]),
        _unit(memory, [(1, "MemRead MemWrite FloatMemRead FloatMemWrite InstPrefetch")]),
        _unit(1, [(3, "IprAccess")]),
        *pipes,
    ]
    return pool


def make_core(model, spec, **parameters):
    """Core of `model` (a key of CPU_MODELS); `spec` is the machine's `cores` section, in plain numbers."""
    core = CPU_MODELS[model](**parameters)
    if model != "o3":
        return core
    core.fuPool = _execution_units(spec)
    # More than renaming takes would make the decoders wait every other cycle.
    width = min(ceil(MICRO_OPERATIONS * spec["fetch_width"]), spec["issue_width"])
    core.fetchWidth = core.decodeWidth = width
    for stage in ("rename", "dispatch", "issue", "wb", "commit", "squash"):
        setattr(core, f"{stage}Width", spec["issue_width"])
    core.numROBEntries = spec["rob"]
    core.numIQEntries = spec["iq"]
    core.LQEntries = spec["lq"]
    core.SQEntries = spec["sq"]
    core.numPhysIntRegs = spec["int_registers"]
    core.numPhysVecRegs = core.numPhysFloatRegs = spec["vector_registers"]
    core.fetchToDecodeDelay = max(1, spec["mispredict"] - FRONT_END_OVERHEAD)
    core.cacheLoadPorts = OTHERS[int(spec["simd_pipes"])][-1]
    core.cacheStorePorts = 2
    core.branchPred = LTAGE()
    return core
