/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The smallest program with LUTMM: y = W x for 4-bit weights on PIM units, compared with plain loops.
 * The outputs are divided over the units, as many to each as a cache line has int32 results.
 *
 * Usage: example_gemv [UNITS]
 */
#include "lutmm_runtime.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

enum { K = 256, TILE = 16, MOST_UNITS = 8, ROW = TILE / 2 };

/* Every buffer starts on a cache line (LUTMM_BUFFER_ALIGN). */
static alignas(64) uint8_t weights[MOST_UNITS][K][ROW];
static alignas(64) int8_t activations[K];
static alignas(64) int32_t outputs[MOST_UNITS][TILE];
static alignas(64) struct lutmm_completion records[MOST_UNITS];
static alignas(64) struct lutmm_descriptor descriptors[MOST_UNITS];

/* Weight k of output n of a tile, -8 .. 7. Codes of 4 bits lie low half first, as two's complement. */
static int weight(int unit, int k, int n)
{
    const int code = weights[unit][k][n / 2] >> (n % 2 * 4) & 15;
    return code < 8 ? code : code - 16;
}

int main(int argc, char **argv)
{
    const int units = argc > 1 ? atoi(argv[1]) : 4;
    if (argc > 2 || units < 1 || units > MOST_UNITS) {
        fprintf(stderr, "example_gemv: UNITS is %s; allowed: 1 to %d\n", argc > 1 ? argv[1] : "", MOST_UNITS);
        return 2;
    }
    for (int k = 0; k < K; ++k) {
        activations[k] = (int8_t)(37 * k % 255 - 127);
        for (int unit = 0; unit < units; ++unit)
            for (int byte = 0; byte < ROW; ++byte)
                weights[unit][k][byte] = (uint8_t)(29 * k + 53 * byte + 101 * unit);
    }

    lutmm_install_emulator();
    for (int unit = 0; unit < units; ++unit) {
        struct lutmm_descriptor *d = &descriptors[unit];
        d->weights = (uintptr_t)weights[unit];
        d->activations = (uintptr_t)activations;
        d->output = (uintptr_t)outputs[unit];
        d->completion = (uintptr_t)&records[unit];
        d->k = K;
        d->n = TILE;
        d->batch = 1;
        d->wbits = 4;
        d->abits = 8;
        d->nbw = 4;
        d->flags = LUTMM_F_CODE_TWOS | LUTMM_F_PRT;
        lutmm_submit((unsigned)unit, d);
    }

    for (int unit = 0; unit < units; ++unit) {
        const uint32_t status = lutmm_wait(&records[unit], 1000000000);
        if (status != LUTMM_OK) {
            fprintf(stderr, "example_gemv: unit %d answered %s\n", unit, lutmm_status_name(status));
            return 1;
        }
        for (int n = 0; n < TILE; ++n) {
            int32_t expected = 0;
            for (int k = 0; k < K; ++k)
                expected += weight(unit, k, n) * activations[k];
            if (outputs[unit][n] != expected) {
                fprintf(stderr, "example_gemv: output %d of unit %d is %d, not %d\n", n, unit,
                        outputs[unit][n], expected);
                return 1;
            }
        }
    }
    printf("%d outputs right, %llu cycles a tile, %llu tiles by emulation\n", units * TILE,
           (unsigned long long)records[0].cycles, (unsigned long long)lutmm_emulated());
    return 0;
}
