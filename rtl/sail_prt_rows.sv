// SPDX-License-Identifier: BSD-3-Clause
//
// The rows of a PRT's entries. A row can be read from the cycle after its filling on. In latches (LATCHES) it
// is written in the low half of the clock, so `fill_*` must come straight from flip-flops.
module sail_prt_rows #(
    parameter int PLACES = 32,
    parameter int ROW_BITS = 256,
    parameter int LATCHES = 0,
    parameter int SLOT_BITS = PLACES < 2 ? 1 : $clog2(PLACES) // derived, not to be set
) (
    input  logic                 clk,
    input  logic                 fill_valid,
    input  logic [SLOT_BITS-1:0] fill_slot,
    input  logic [ROW_BITS-1:0]  fill_row,
    input  logic [SLOT_BITS-1:0] slot,
    output logic [ROW_BITS-1:0]  row
);
  logic [PLACES*ROW_BITS-1:0] rows;

  for (genvar i = 0; i < PLACES; i++) begin : g_row
    wire fills = fill_valid && fill_slot == SLOT_BITS'(i);
    if (LATCHES != 0) begin : g_latch
      wire opens = fills && !clk;
      always_latch if (opens) rows[ROW_BITS*i+:ROW_BITS] = fill_row;
    end else begin : g_flop
      always_ff @(posedge clk) if (fills) rows[ROW_BITS*i+:ROW_BITS] <= fill_row;
    end
  end

  assign row = rows[ROW_BITS*slot+:ROW_BITS];
endmodule
