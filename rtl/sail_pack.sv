// SPDX-License-Identifier: BSD-3-Clause
//
// Sums of few outputs on their way to the buffer. A pass with fewer outputs than a beat would be read a batch row a
// cycle; so the last group's look-up leaves its sums there packed, WORDS in a row, as they become ready. A row that
// is begun is written again with each batch row that adds to it. It never lies above the batch row that is at work,
// so nothing is lost. What the last batch row leaves for one more row is written a cycle later.
module sail_pack #(
    parameter int LANES = 42,
    parameter int ROWS = 2, // at most
    parameter int WORD_BITS = 32,
    parameter int WORDS = 8, // of a packed row, at most LANES
    // Derived, not to be set.
    parameter int LANES_BITS = $clog2(LANES + 1),
    parameter int ROWS_BITS = $clog2(ROWS + 1),
    parameter int COUNT_BITS = $clog2(WORDS + 1),
    parameter int INDEX_BITS = ROWS < 2 ? 1 : $clog2(ROWS)
) (
    input  logic                       clk,
    input  logic                       go, // all stages move
    // Issue: where a batch row's sums will lie, and how many rows there are to read.
    input  logic                       start, // of a group
    input  logic                       take, // the last look-up of a batch row in the last group of a sum
    input  logic [ROWS_BITS-1:0]       rows,
    input  logic [LANES_BITS-1:0]      outputs,
    output logic [COUNT_BITS-1:0]      words, // of the batch row that are packed; 0: it is left as it is
    output logic [COUNT_BITS-1:0]      by,
    output logic [ROWS_BITS-1:0]       row,
    output logic [ROWS_BITS-1:0]       packed_rows,
    output logic [LANES_BITS-1:0]      packed_outputs, // of a row
    output logic [LANES_BITS-1:0]      packed_last, // of the last
    // Stage 3.
    input  logic                       now_take, // a sum goes to the buffer
    input  logic [COUNT_BITS-1:0]      now_words,
    input  logic [COUNT_BITS-1:0]      now_by,
    input  logic [ROWS_BITS-1:0]       now_row,
    input  logic [LANES*WORD_BITS-1:0] sums,
    output logic                       write,
    output logic [INDEX_BITS-1:0]      write_index,
    output logic [LANES*WORD_BITS-1:0] written
);
  localparam int BITS = WORDS * WORD_BITS;

  wire few = outputs < LANES_BITS'(WORDS);
  logic [COUNT_BITS-1:0] filled; // words of the row that is begun
  logic [ROWS_BITS-1:0] whole; // rows before it
  assign by = start ? '0 : filled;
  assign row = start ? '0 : whole;
  assign words = few && take ? COUNT_BITS'(outputs) : '0;
  wire [COUNT_BITS:0] sum = (COUNT_BITS + 1)'(by) + (COUNT_BITS + 1)'(words);
  wire fills = sum >= (COUNT_BITS + 1)'(WORDS);
  assign packed_rows = few ? whole + ROWS_BITS'(filled != '0) : rows;
  assign packed_outputs = few ? LANES_BITS'(WORDS) : outputs;
  assign packed_last = few && filled != '0 ? LANES_BITS'(filled) : packed_outputs;

  logic [BITS-1:0] begun; // words of the row that is begun
  logic over; // the row behind the one just written has some
  logic [ROWS_BITS-1:0] over_row;
  wire [BITS-1:0] own = sums[BITS-1:0] & ~({BITS{1'b1}} << now_words * WORD_BITS);
  wire [2*BITS-1:0] joined = (2 * BITS)'(now_by == '0 ? '0 : begun) | (2 * BITS)'(own) << now_by * WORD_BITS;
  wire [COUNT_BITS:0] now_sum = (COUNT_BITS + 1)'(now_by) + (COUNT_BITS + 1)'(now_words);
  assign write = now_take || over;
  assign write_index = INDEX_BITS'(now_take ? now_row : over_row);
  wire [BITS-1:0] first = !now_take ? begun : now_words == '0 ? sums[BITS-1:0] : joined[BITS-1:0];
  assign written = sums >> BITS << BITS | (LANES * WORD_BITS)'(first);

  always_ff @(posedge clk)
    if (go) begin
      {filled, whole} <= {COUNT_BITS'(fills ? sum - (COUNT_BITS + 1)'(WORDS) : sum), row + ROWS_BITS'(fills)};
      over <= now_take && now_sum > (COUNT_BITS + 1)'(WORDS);
      over_row <= now_row + 1'b1;
      if (now_take && now_words != '0)
        begun <= now_sum >= (COUNT_BITS + 1)'(WORDS) ? joined[BITS+:BITS] : joined[BITS-1:0];
    end
endmodule
