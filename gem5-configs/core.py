# SPDX-License-Identifier: BSD-3-Clause
"""A Neoverse-N1 core as far as gem5's out-of-order model can be one.

Widths, queues and the latencies that a system file has come from there; what it does not have is here, each
with where it comes from.
"""

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

# Cycles that gem5's O3 pipeline adds to a load that hits the first-level cache, beside the cache's own
# latency. Fitted with workloads/kernels/memory/pointer_chase.
LOAD_OVERHEAD = 1
# Of `mispredict`, the stages that the model has by itself (decode, rename, dispatch, issue, commit and the
# way back); assumed from its default delays.
FRONT_END_OVERHEAD = 8

CPU_MODELS = {
    "atomic": SailAtomicSimpleCPU,
    "timing": SailTimingSimpleCPU,
    "minor": SailMinorCPU,
    "o3": SailO3CPU,
}


VECTOR = {
    1: "SimdPredAlu",
    2: "SimdAdd SimdAlu SimdCmp SimdShift SimdFloatAdd SimdFloatAlu SimdFloatCmp SimdAes SimdAesMix "
    "SimdSha1Hash SimdShaSigma2 SimdShaSigma3 FloatAdd FloatCmp",
    3: "SimdCvt SimdFloatCvt SimdFloatMisc SimdFloatMult FloatCvt FloatMult FloatMisc",
    4: "SimdAddAcc SimdMult SimdShiftAcc SimdReduceAdd SimdReduceAlu SimdReduceCmp SimdFloatReduceAdd "
    "SimdFloatReduceCmp SimdSha1Hash2 SimdSha256Hash SimdSha256Hash2",
    -10: "SimdDiv SimdSqrt SimdFloatDiv FloatDiv",
    -12: "SimdFloatSqrt FloatSqrt",
}
"""Operation classes of the vector units by their latency; negative: not pipelined. No system file has these:
they are assumed after LLVM's AArch64SchedNeoverseN1.td.

gem5 gives SDOT the class of vector logic (SimdAlu), so both have one latency: 2 cycles, that of vector logic
on the N1; accumulating chains of SDOT are forwarded after 1 there.
"""
FMA = "SimdMultAcc SimdFloatMultAcc FloatMultAcc"
TABLE = "SimdMisc"  # among them TBL


def _unit(count, latencies):
    """`count` execution units for operation classes by their latencies."""
    operations = [
        OpDesc(opClass=name, opLat=abs(latency), pipelined=latency > 0)
        for latency, names in latencies
        for name in names.split()
    ]
    return FUDesc(count=count, opList=operations)


def _execution_units(cores):
    """Ports of the N1 (LLVM, AArch64SchedNeoverseN1.td): one branch and two simple integer units (one kind
    here, since gem5 sends branches to IntAlu), one multi-cycle integer unit, two load/store units and
    `simd_pipes` vector units."""
    vector = [*VECTOR.items(), (cores["fma_latency"], FMA), (cores["table_latency"], TABLE)]
    pool = FUPool()
    pool.FUList = [
        _unit(3, [(1, "IntAlu")]),
        _unit(1, [(2, "IntMult"), (-12, "IntDiv")]),
        _unit(2, [(1, "MemRead MemWrite FloatMemRead FloatMemWrite InstPrefetch")]),
        _unit(1, [(3, "IprAccess")]),
        _unit(cores["simd_pipes"], vector),
    ]
    return pool


def make_core(model, spec, **parameters):
    """A core of `model` (a key of CPU_MODELS); `spec` is the machine's `cores` section, plain numbers."""
    core = CPU_MODELS[model](**parameters)
    if model != "o3":
        return core
    core.fetchWidth = core.decodeWidth = spec["fetch_width"]
    for stage in ("rename", "dispatch", "issue", "wb", "commit", "squash"):
        setattr(core, f"{stage}Width", spec["issue_width"])
    core.numROBEntries = spec["rob"]
    core.numIQEntries = spec["iq"]
    core.LQEntries = spec["lq"]
    core.SQEntries = spec["sq"]
    core.numPhysIntRegs = spec["int_registers"]
    core.numPhysVecRegs = core.numPhysFloatRegs = spec["vector_registers"]
    core.fetchToDecodeDelay = max(1, spec["mispredict"] - FRONT_END_OVERHEAD)
    core.cacheLoadPorts = 2
    core.cacheStorePorts = 2
    core.fuPool = _execution_units(spec)
    core.branchPred = LTAGE()
    return core
