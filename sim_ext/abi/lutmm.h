/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The contract between software and a PIM slice unit: descriptor, completion record, status codes and
 * the one instruction, LUTMM. C99 and C++11, no dependency but <stdint.h>. The NumPy dtypes of
 * lut_gemv/descriptor.py come from this file; the arithmetic it names is in docs/contract.md.
 */
#ifndef SAILSIM_ABI_LUTMM_H
#define SAILSIM_ABI_LUTMM_H

#include <stdint.h>

#define LUTMM_ABI_VERSION 1

/* Limits of the fields below. */
#define LUTMM_WBITS_MAX 8
#define LUTMM_ABITS_MAX 16
#define LUTMM_NBW_MAX 6
/* Every buffer starts on a cache line; the completion record on half of one. */
#define LUTMM_BUFFER_ALIGN 64
#define LUTMM_COMPLETION_ALIGN 32

/* flags: how activations and weight codes read as integers, and what the unit does. */
#define LUTMM_F_ACT_UNSIGNED 0x01u /* activations are unsigned; else two's complement */
#define LUTMM_F_CODE_MASK 0x06u    /* weight code, one of: */
#define LUTMM_F_CODE_TWOS 0x00u    /*   two's complement */
#define LUTMM_F_CODE_OFFSET 0x02u  /*   unsigned minus a zero point (in `codebook`) */
#define LUTMM_F_CODE_TERNARY 0x04u /*   0, 1, 2 mean -1, 0, +1; wbits is 2; code 3 is refused */
#define LUTMM_F_CODE_BOOK 0x06u    /*   index into 2^wbits int16 entries at `codebook` */
#define LUTMM_F_PRT 0x08u          /* use the pattern reuse table */
#define LUTMM_F_CONVERT 0x10u      /* convert and scale in memory: fp32 out. Needs `scales`. */
#define LUTMM_F_MINIMUM 0x20u      /* each block has a minimum beside its scale */
#define LUTMM_F_RESERVED 0xc0u     /* must be zero */

/* One tile of work, 64 bytes, little endian.
 *
 * weights     K rows of N codes of wbits bits, packed LSB first; a row is padded to a whole byte
 * activations batch rows of K integers, int8 where abits <= 8, else int16; unpadded
 * output      batch rows of N results, int32 (scales == 0) or fp32; unpadded
 * scales      0, or: fp16 scale[blocks][N]; with LUTMM_F_MINIMUM fp16 minimum[blocks][N]; then, on the next
 *             multiple of 4 bytes, fp32 act_scale[batch]
 * completion  one struct lutmm_completion, written last
 * group_size  weights of a quantization block along K; 0: one block of K
 * codebook    LUTMM_F_CODE_BOOK: address of int16[2^wbits]; LUTMM_F_CODE_OFFSET: the zero point itself
 *             (0 .. 2^wbits - 1); else 0
 */
struct lutmm_descriptor {
    uint64_t weights;
    uint64_t activations;
    uint64_t output;
    uint64_t scales;
    uint64_t completion;
    uint32_t k;
    uint32_t n;
    uint16_t batch;
    uint8_t wbits;
    uint8_t abits;
    uint8_t nbw;
    uint8_t flags;
    uint16_t group_size;
    uint64_t codebook;
};

/* Written by the unit after every result word is visible. status is 0 (LUTMM_PENDING) until then. */
struct lutmm_completion {
    uint32_t status;
    uint32_t detail;   /* on an error: byte offset of the offending descriptor field, or the unit's number */
    uint64_t cycles;   /* C-SRAM cycles from the descriptor's arrival to the last result */
    uint64_t lookups;  /* table look-ups of one DFM, zero patterns and PRT hits included */
    uint64_t prt_hits; /* of those, served by the PRT */
};

enum lutmm_status {
    LUTMM_PENDING = 0,
    LUTMM_OK = 1,
    LUTMM_ERR_WBITS = 2,     /* wbits outside 1..8, or not 2 for ternary */
    LUTMM_ERR_ABITS = 3,     /* abits outside 1..16 */
    LUTMM_ERR_NBW = 4,       /* nbw outside 1..6 */
    LUTMM_ERR_SHAPE = 5,     /* k, n or batch is 0 */
    LUTMM_ERR_FLAGS = 6,     /* a reserved flag, or flags that contradict the other fields */
    LUTMM_ERR_ALIGN = 7,     /* a buffer is not aligned */
    LUTMM_ERR_CODEBOOK = 8,  /* no codebook where one is needed, or a zero point out of range */
    LUTMM_ERR_CODE = 9,      /* a weight code with no meaning (ternary 3) */
    LUTMM_ERR_VALUE = 10,    /* an activation outside the declared width */
    LUTMM_ERR_OVERFLOW = 11, /* the accumulator could wrap: |w|max * |x|max * block too large */
    LUTMM_ERR_CAPACITY = 12, /* table and staging rows do not fit the array */
    LUTMM_ERR_FAULT = 13,    /* an address that cannot be read or written */
    LUTMM_ERR_OVERLAP = 14,  /* the output overlaps an input or the completion record */
    LUTMM_ERR_UNIT = 15      /* the machine has no such unit; `detail` is its number */
};

/* The instruction: LUTMM Xn, Xn = address of a descriptor, on unit 0..63. Bits 28:25 are 0b0011 with bit
 * 31 clear, unallocated in the A64 top-level table. bits: | 0000 0110 0101 010 | S | unit[15:10] | Xn[9:5] |
 * 00000 |
 */
#define LUTMM_INSN_BASE 0x06540000 /* no suffix: the assembler reads it too */
#define LUTMM_INSN_MASK 0xffff001fu
#define LUTMM_UNITS_MAX 64
#define LUTMM_INSN(unit, xn) (LUTMM_INSN_BASE | ((uint32_t)(unit) << 10) | ((uint32_t)(xn) << 5))

#if defined(__aarch64__)
#define LUTMM_STR_(x) #x
#define LUTMM_STR(x) LUTMM_STR_(x)
/* Hands the descriptor at `d` to `unit` (a literal). The register is fixed so that the word is a constant. */
#define LUTMM_SUBMIT(unit, d)                                                                                \
    do {                                                                                                     \
        register const struct lutmm_descriptor *lutmm_d_ __asm__("x9") = (d);                                \
        __asm__ volatile(".inst " LUTMM_STR(LUTMM_INSN_BASE) " | (" LUTMM_STR(unit) " << 10) | (9 << 5)"     \
                         :                                                                                   \
                         : "r"(lutmm_d_)                                                                     \
                         : "memory");                                                                        \
    } while (0)
#endif

#endif
