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


def _unit(count, **latencies):
    """`count` execution units for operation classes with their latencies; negative: not pipelined."""
    operations = [
        OpDesc(opClass=name, opLat=abs(latency), pipelined=latency > 0) for name, latency in latencies.items()
    ]
    return FUDesc(count=count, opList=operations)


def _execution_units(cores):
    """Ports of the N1 (LLVM, AArch64SchedNeoverseN1.td): one branch and two simple integer units (one kind
    here, since gem5 sends branches to IntAlu), one multi-cycle integer unit, two load/store units and
    `simd_pipes` vector units. Latencies that no system file has are assumed after the same file.

    gem5 gives SDOT the class of vector logic (SimdAlu), so both have one latency: 2 cycles, that of vector
    logic on the N1; accumulating chains of SDOT are forwarded after 1 there.
    """
    fma = cores["fma_latency"]
    table = cores["table_latency"]
    vector = {
        "SimdAdd": 2,
        "SimdAddAcc": 4,
        "SimdAlu": 2,
        "SimdCmp": 2,
        "SimdCvt": 3,
        "SimdMisc": table,
        "SimdMult": 4,
        "SimdMultAcc": fma,
        "SimdShift": 2,
        "SimdShiftAcc": 4,
        "SimdDiv": -10,
        "SimdSqrt": -10,
        "SimdReduceAdd": 4,
        "SimdReduceAlu": 4,
        "SimdReduceCmp": 4,
        "SimdFloatAdd": 2,
        "SimdFloatAlu": 2,
        "SimdFloatCmp": 2,
        "SimdFloatCvt": 3,
        "SimdFloatDiv": -10,
        "SimdFloatMisc": 3,
        "SimdFloatMult": 3,
        "SimdFloatMultAcc": fma,
        "SimdFloatSqrt": -12,
        "SimdFloatReduceAdd": 4,
        "SimdFloatReduceCmp": 4,
        "SimdAes": 2,
        "SimdAesMix": 2,
        "SimdSha1Hash": 2,
        "SimdSha1Hash2": 4,
        "SimdSha256Hash": 4,
        "SimdSha256Hash2": 4,
        "SimdShaSigma2": 2,
        "SimdShaSigma3": 2,
        "SimdPredAlu": 1,
        "FloatAdd": 2,
        "FloatCmp": 2,
        "FloatCvt": 3,
        "FloatMult": 3,
        "FloatMultAcc": fma,
        "FloatDiv": -10,
        "FloatMisc": 3,
        "FloatSqrt": -12,
    }
    pool = FUPool()
    pool.FUList = [
        _unit(3, IntAlu=1),
        _unit(1, IntMult=2, IntDiv=-12),
        _unit(2, MemRead=1, MemWrite=1, FloatMemRead=1, FloatMemWrite=1, InstPrefetch=1),
        _unit(1, IprAccess=3),
        _unit(cores["simd_pipes"], **vector),
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
