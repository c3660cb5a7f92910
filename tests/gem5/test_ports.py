"""Vector instructions that a Neoverse N1's pipes part, and gem5 has in one operation class."""

import pytest

from .conftest import compiled

pytestmark = [pytest.mark.gem5, pytest.mark.aarch64]

PORTS = {
    "scvtf v{}.4s, v{}.4s": (4, 2),
    "scvtf v{}.2s, v{}.2s": (4, 1),
    "fcvtl v{}.4s, v{}.4h": (4, 2),
    "fcvtn v{}.4h, v{}.4s": (4, 2),
    "frintn v{}.4s, v{}.4s": (4, 2),
    "sqxtn v{}.4h, v{}.4s": (4, 1),
    "xtn v{}.4h, v{}.4s": (2, 0.5),
    "uaddlv h{}, v{}.16b": (6, 2),
    "addv s{}, v{}.4s": (3, 1),
    "fmaxv s{}, v{}.4s": (5, 0.5),
    "mul v{0}.4s, v{1}.4s, v{1}.4s": (4, 2),
    "mul v{0}.4h, v{1}.4h, v{1}.4h": (4, 1),
    "smull v{0}.8h, v{1}.8b, v{1}.8b": (4, 1),
    "shl v{}.4s, v{}.4s, #1": (2, 1),
    "fadd v{0}.4s, v{1}.4s, v{1}.4s": (2, 0.5),
}
"""Cycles of an instruction that waits for the one before, and of one that does not: N1's (llvm-mca), but for
MUL of 128 bits, 5."""

PROGRAM = """
#include <arm_neon.h>
#include <cstdint>
#include <cstdio>
#include <ctime>

static double now()
{
    timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e9 + at.tv_nsec;
}

#define TIMES_5(x) x x x x x
#define TIMES_100(x) TIMES_5(TIMES_5(x x x x))
template <class Run>
static double cycles(Run run)
{
    run(4);
    const double start = now();
    run(10);
    const double middle = now();
    run(210);
    return ((now() - middle) - (middle - start)) * GHZ / (200 * 100);
}

static bool right()
{
    const int32x4_t whole = {-3, 70000, 5, -2147483647};
    const float32x4_t numbers = vcvtq_f32_s32(whole);
    const int16x4_t narrow = vqmovn_s32(whole);
    const int32x4_t product = vmulq_s32(whole, whole);
    const uint8x16_t bytes = vdupq_n_u8(200);
    const float32x4_t wide = vcvt_f32_f16(vcvt_f16_f32(numbers));
    return numbers[1] == 70000.0f && narrow[1] == 32767 && narrow[0] == -3 && product[2] == 25 &&
           vaddlvq_u8(bytes) == 3200 && vaddvq_s32(vdupq_n_s32(7)) == 28 && vmaxvq_f32(numbers) == 70000.0f &&
           wide[0] == -3.0f && vrndnq_f32(vdupq_n_f32(2.5f))[0] == 2.0f;
}

#define MEASURE(chained, apart)                                                                     \\
    printf("{\\"chained\\": %.3f, \\"apart\\": %.3f}\\n", cycles([](int n) {                            \\
               while (n--)                                                                          \\
                   __asm__ volatile(TIMES_100(chained) ::: REGISTERS);                              \\
           }),                                                                                      \\
           cycles([](int n) {                                                                       \\
               while (n--)                                                                          \\
                   __asm__ volatile(TIMES_5(apart) ::: REGISTERS);                                  \\
           }))
#define REGISTERS "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", \\
    "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21"

int main()
{
    LINES
    printf("{\\"right\\": %d}\\n", right());
}
"""


def test_vector_instructions_take_an_n1s_pipes_and_cycles(program, machine, tmp_path):
    lines = "\n    ".join(
        f'MEASURE("{text.format(0, 0)}\\n", "'
        + "".join(f"{text.format(to % 20, 20)}\\n" for to in range(20))
        + '");'
        for text in PORTS
    )
    source = PROGRAM.replace("LINES", lines).replace("GHZ", f"{machine.cores.clock.value}")
    built = compiled(source, tmp_path / "ports", "-O2", "-std=c++17", "-march=armv8.2-a+fp16")
    *found, values = program(built, cpu="o3", units=0).json_lines
    assert values == {"right": 1}
    for text, line, (chained, apart) in zip(PORTS, found, PORTS.values(), strict=True):
        assert line["chained"] == pytest.approx(chained, rel=0.03), text
        assert line["apart"] == pytest.approx(apart, rel=0.16), text
