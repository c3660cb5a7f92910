// SPDX-License-Identifier: BSD-3-Clause
//
// A buffer of the DFM: activations, or sums that no batch row is adding to. Behavioural, as `sail_array` is.

// One row is read and one written a cycle; a row that is being written reads as what it becomes. What was read
// stays until the next read.
module sail_buffer #(
    parameter int ROWS = 2,
    parameter int ROW_BITS = 32,
    parameter int INDEX_BITS = ROWS < 2 ? 1 : $clog2(ROWS) // derived, not to be set
) (
    input  logic                  clk,
    input  logic                  read,
    input  logic [INDEX_BITS-1:0] read_index,
    output logic [ROW_BITS-1:0]   row_out,
    input  logic                  write,
    input  logic [INDEX_BITS-1:0] write_index,
    input  logic [ROW_BITS-1:0]   row_in
);
  logic [ROW_BITS-1:0] cells[0:ROWS-1];

  always_ff @(posedge clk) begin
    if (read) row_out <= write && write_index == read_index ? row_in : cells[read_index];
    if (write) cells[write_index] <= row_in;
  end
endmodule
