// SPDX-License-Identifier: BSD-3-Clause
//
// What stands behind the cells of one output: an adder of table entries, and a shifter and an accumulator for
// look-ups, in two stages. All lanes do the same in a cycle, so their control is shared and comes registered.
module sail_lane #(
    parameter int ENTRY_BITS = 6,
    parameter int ACC_BITS = 32,
    parameter int SHIFT_BITS = 4
) (
    input  logic                  clk,
    // Stage 2: the entry is at the sense amplifiers.
    input  logic [ENTRY_BITS-1:0] entry,
    input  logic                  keep, // as the first summand of a new entry
    input  logic                  add, // to it, as the second
    output logic [ENTRY_BITS-1:0] made, // the new entry
    input  logic                  look,
    input  logic                  empty, // a zero pattern: adds 0
    input  logic                  from_prt, // the entry is the one that the PRT holds
    input  logic [ENTRY_BITS-1:0] prt_entry,
    input  logic [SHIFT_BITS-1:0] shift, // bit position of the pattern
    input  logic                  minus, // it is the sign's
    // Stage 3: the shifted entry is added up.
    input  logic                  sum_enable,
    input  logic                  minus_late, // of the entry that is added
    input  logic                  fresh, // to 0
    input  logic                  other, // to a sum from the buffer
    input  logic [ACC_BITS-1:0]   stored, // that one
    output logic [ACC_BITS-1:0]   sum,
    output logic [ACC_BITS-1:0]   next_sum
);
  logic [ENTRY_BITS-1:0] first;
  logic [ACC_BITS-1:0] addend;

  wire [ENTRY_BITS-1:0] looked = from_prt ? prt_entry : entry;
  wire [ACC_BITS-1:0] shifted = ACC_BITS'($signed(looked)) << shift;

  always_ff @(posedge clk) begin
    if (keep) first <= entry;
    if (add) made <= first + entry;
    if (look) addend <= empty ? '0 : minus ? ~shifted : shifted;
  end

  assign next_sum = (fresh ? '0 : other ? stored : sum) + addend + ACC_BITS'(minus_late);

  always_ff @(posedge clk) if (sum_enable) sum <= next_sum;
endmodule
