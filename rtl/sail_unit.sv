// SPDX-License-Identifier: BSD-3-Clause
//
// One PIM slice unit: C-SRAM rows with a lane behind every output, one DFM with its PRT, and the sequencer that
// plays a tile group by group as docs/contract.md, sections 1 to 4, says. The format of a tile (bits of weights,
// entries, activations; NBW) is fixed at elaboration, by the package that `sailsim.sim.rtl` writes; sizes are
// run-time. A run-time width of weights would need entries of a run-time width e: a network of LANES multiplexers
// that aligns cells to lanes both when a row is staged and when it is read.
//
// Protocol. A transfer happens in a cycle whose clock edge sees valid and ready; valid never waits for ready. A port
// that stalls delays the tile and changes nothing else. `rst_n` is synchronous; at any time it returns to idle and
// drops all that is under way.
//
// tile         one transfer a tile, one chunk of the batch. `passes` is ceil(outputs / lanes), pass p owns outputs
//              p * lanes and up; `block` is K where nothing is scaled; `words` is rows * groups of a pass; `keep`
//              says that all of them lie in the DFM's buffer (words <= ACTIVATION_WORDS).
// activations  a word has the NBW activations of one batch row and group, weight j at bit j * ABITS, zeros where
//              a last group is short. Order: group by group, in it row by row. With `keep` one pass of words, all of
//              them before cycle 0; else those of every pass, of which ACTIVATION_WORDS (or all) come before it.
// weights      per pass and group: the codes of weight 0, of weight 1, ... (g of them), each of the pass's outputs
//              in order, WBITS each, packed from the LSB up without gaps. Every group begins a beat.
//              ceil(g * outputs * WBITS / PORT_BITS) beats.
// scales       (CONVERT 2 and `scaled`) per pass and block: fp16 of the pass's outputs in order, CONVERT_UNITS a beat.
// results      at the end of a pass (of a block, where sums are scaled by the cores): 32 bits for every batch row
//              and output of the pass, outputs innermost, packed without gaps; int32, or fp32 from the conversion
//              unit. `results_last` marks the last beat of a write-back; what is behind its last word is 0.
//
// `phase` says what a cycle is counted as; `event_*` are high in the cycle in which something begins, so the time
// between two is the contract's: cycle 0 (`event_begin`), a load begins, its weights are staged, computing starts.
// Arrays work one cycle behind `phase`, results leave RESULT_DELAY cycles behind it: a constant of the tile. Counters
// hold until the next tile.
module sail_unit #(
    parameter int LANES = sail_pkg::LANES,
    parameter int BATCH = sail_pkg::BATCH, // most batch rows of a tile
    parameter int NBW = sail_pkg::NBW,
    parameter int WBITS = sail_pkg::WBITS, // of a code
    parameter int VALUE_BITS = sail_pkg::VALUE_BITS, // of the integer that a code means
    parameter int CODE = sail_pkg::CODE, // 0 twos, 1 offset, 2 ternary, 3 codebook
    parameter int ABITS = sail_pkg::ABITS,
    parameter int SIGNED = sail_pkg::SIGNED, // activations
    parameter int ACC_BITS = sail_pkg::ACC_BITS, // of a sum, at most 32
    parameter int PORT_BITS = 8 * sail_pkg::PORT_BYTES,
    parameter int CONVERT = sail_pkg::CONVERT, // 1 the cores, 2 conversion units
    parameter int CONVERT_UNITS = sail_pkg::CONVERT_UNITS,
    // Derived, not to be set.
    parameter int LANES_BITS = $clog2(LANES + 1),
    parameter int ROWS_BITS = $clog2(BATCH + 1)
) (
    input  logic                          clk,
    input  logic                          rst_n,
    input  logic                          tile_valid,
    output logic                          tile_ready, // idle
    input  logic [23:0]                   tile_k,
    input  logic [23:0]                   tile_block, // weights of a block, at most k
    input  logic [23:0]                   tile_words, // of activations in a pass
    input  logic [ROWS_BITS-1:0]          tile_rows,
    input  logic [23:0]                   tile_outputs,
    input  logic [LANES_BITS-1:0]         tile_lanes, // outputs of a pass; the last may have fewer
    input  logic [23:0]                   tile_passes,
    input  logic                          tile_keep,
    input  logic                          tile_scaled,
    input  logic [WBITS-1:0]              tile_zero_point, // CODE 1
    input  logic [VALUE_BITS*2**WBITS-1:0] tile_book, // CODE 3: the value of code c at bit c * VALUE_BITS
    input  logic [32*BATCH-1:0]           tile_act_scales, // CONVERT 2 and scaled: fp32 of every batch row
    input  logic                          weights_valid,
    output logic                          weights_ready,
    input  logic [PORT_BITS-1:0]          weights_data,
    input  logic                          activations_valid,
    output logic                          activations_ready,
    input  logic [NBW*ABITS-1:0]          activations_data,
    input  logic                          scales_valid,
    output logic                          scales_ready,
    input  logic [16*CONVERT_UNITS-1:0]   scales_data,
    output logic                          results_valid,
    input  logic                          results_ready,
    output logic [PORT_BITS-1:0]          results_data,
    output logic                          results_last,
    // What happens, for counters and testbenches.
    output logic [2:0]                    phase, // 0 idle, 1 filling before cycle 0, 2 waiting for weights (load),
                                                 // 3 build, 4 look-up, 5 convert, 6 write-back
    output logic                          event_begin, // cycle 0 of the tile
    output logic                          event_load, // a load begins
    output logic                          event_loaded, // the weights of a group are here and staged: its load_end
    output logic                          event_start, // a group's computing begins
    output logic                          event_done, // the tile is over: its total, in cycles from event_begin
    output logic [31:0]                   count_zero,
    output logic [31:0]                   count_hit,
    output logic [31:0]                   count_miss,
    output logic [31:0]                   count_builds,
    output logic [31:0]                   count_adds,
    output logic [31:0]                   count_row_reads,
    output logic [31:0]                   count_row_writes
);
endmodule
