/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program without an operating system: one unit works out y = W x for 4-bit weights and two rows of
 * activations, and plain loops check it. It runs at EL3 in the secure state, on gem5-configs/bare_metal.py,
 * with caches on, and writes all operands itself: the unit is right only if it sees what the core's caches
 * hold. docs/gem5.md has the commands.
 *
 * gem5 ends by "m5_exit" where all is right, else by "m5_fail" with a number: the record's status, or 100 for
 * a wrong output.
 */
#include "lutmm.h"

enum { K = 64, N = 40, BATCH = 2, ROW = N / 2, WRONG_OUTPUT = 100 };

static _Alignas(64) uint8_t weights[K][ROW];
static _Alignas(64) int8_t activations[BATCH][K];
static _Alignas(64) int32_t outputs[BATCH][N];
static _Alignas(64) struct lutmm_completion record;
static _Alignas(64) struct lutmm_descriptor descriptor;

/* Only the lines below name it. */
__attribute__((used)) static _Alignas(16) uint8_t stack[4096];

/* Where the program begins: MMU and caches on, a stack, then main. The table has a GiB an entry. Memory, from
 * 0x80000000, maps to itself as normal memory with caches; the units' doorbells at 0x7000000000 (entry 448)
 * map to themselves as device memory. */
__asm__(".section .text\n"
        ".global _start\n"
        "_start: ldr x0, =table\n"
        "    msr ttbr0_el3, x0\n"
        "    ldr x0, =0x00ff\n" /* attribute 0: normal, write-back; attribute 1: device */
        "    msr mair_el3, x0\n"
        "    ldr x0, =0x80823519\n" /* addresses of 39 bits, pages of 4 KiB */
        "    msr tcr_el3, x0\n"
        "    isb\n"
        "    ldr x0, =0x30c51835\n" /* MMU, data and instruction caches */
        "    msr sctlr_el3, x0\n"
        "    isb\n"
        "    ldr x0, =stack + 4096\n"
        "    mov sp, x0\n"
        "    b main\n"
        "    .ltorg\n"
        "    .balign 4096\n"
        "table: .quad 0, 0, 0x80000701\n"
        "    .fill 445, 8, 0\n"
        "    .quad 0x7000000705\n"
        "    .fill 63, 8, 0\n"
        ".previous\n");

/* gem5's m5_exit and m5_fail (include/gem5/asm/generic/m5ops.h), which end the simulation. */
static _Noreturn void end(uint64_t code)
{
    register uint64_t delay __asm__("x0") = 0;
    register uint64_t number __asm__("x1") = code;
    for (;;)
        if (code == 0)
            __asm__ volatile(".inst 0xff210110" : : "r"(delay));
        else
            __asm__ volatile(".inst 0xff220110" : : "r"(delay), "r"(number));
}

static int weight(int k, int n)
{
    const int code = weights[k][n / 2] >> (n % 2 * 4) & 15;
    return code < 8 ? code : code - 16;
}

_Noreturn void main(void)
{
    for (int k = 0; k < K; ++k) {
        for (int b = 0; b < BATCH; ++b)
            activations[b][k] = (int8_t)((37 * k + 91 * b) % 255 - 127);
        for (int byte = 0; byte < ROW; ++byte)
            weights[k][byte] = (uint8_t)(29 * k + 53 * byte);
    }
    descriptor.weights = (uintptr_t)weights;
    descriptor.activations = (uintptr_t)activations;
    descriptor.output = (uintptr_t)outputs;
    descriptor.completion = (uintptr_t)&record;
    descriptor.k = K;
    descriptor.n = N;
    descriptor.batch = BATCH;
    descriptor.wbits = 4;
    descriptor.abits = 8;
    descriptor.nbw = 4;
    descriptor.flags = LUTMM_F_CODE_TWOS | LUTMM_F_PRT;
    LUTMM_SUBMIT(0, &descriptor);

    uint32_t status;
    while ((status = __atomic_load_n(&record.status, __ATOMIC_ACQUIRE)) == LUTMM_PENDING)
        ;
    if (status != LUTMM_OK)
        end(status);
    for (int b = 0; b < BATCH; ++b)
        for (int n = 0; n < N; ++n) {
            int32_t expected = 0;
            for (int k = 0; k < K; ++k)
                expected += weight(k, n) * activations[b][k];
            if (outputs[b][n] != expected)
                end(WRONG_OUTPUT);
        }
    end(0);
}
