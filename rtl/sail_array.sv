// SPDX-License-Identifier: BSD-3-Clause
//
// The rows of the C-SRAM arrays, which work in lockstep: one wide row here. Behavioural: it says what is read and
// written in which cycle. It is no SRAM macro and has no timing, area or energy of its own; whoever synthesizes the
// unit leaves it out and says so.

// One row is read or written a cycle (`access`); what was read stays until the next read. Beside it one staging row
// may be written: the contract loads a group while the one before is looked up, so staging rows need word lines of
// their own. A row of the group at work may still be written while another one is read.
module sail_array #(
    parameter int ROWS = 24,
    parameter int ROW_BITS = 256,
    parameter int INDEX_BITS = $clog2(ROWS) // derived, not to be set
) (
    input  logic                  clk,
    input  logic                  access,
    input  logic                  write, // else a read
    input  logic [INDEX_BITS-1:0] index,
    input  logic [ROW_BITS-1:0]   row_in,
    output logic [ROW_BITS-1:0]   row_out,
    input  logic                  stage,
    input  logic [INDEX_BITS-1:0] stage_index,
    input  logic [ROW_BITS-1:0]   stage_row
);
  logic [ROW_BITS-1:0] cells[0:ROWS-1];

  always_ff @(posedge clk) begin
    if (access && !write) row_out <= cells[index];
    if (access && write) cells[index] <= row_in;
    if (stage) cells[stage_index] <= stage_row;
  end
endmodule
