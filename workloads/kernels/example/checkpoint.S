/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Says "before", asks gem5 for a checkpoint of the simulation, and says "after". Gone on from the checkpoint it
 * says "after" alone. docs/gem5.md has the commands.
 *
 * m5_checkpoint with no delay and no period is the word 0xff430110 (gem5's include/gem5/asm/generic/m5ops.h).
 */
    .macro say text, bytes
    mov x0, 1
    adr x1, \text
    mov x2, \bytes
    mov x8, 64
    svc 0
    .endm
    .global _start
_start:
    say before, 7
    mov x0, 0
    mov x1, 0
    .inst 0xff430110
    say after, 6
    mov x0, 0
    mov x8, 94
    svc 0
before: .ascii "before\n"
after: .ascii "after\n"
