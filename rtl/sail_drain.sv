// SPDX-License-Identifier: BSD-3-Clause
//
// From sums to the result port: words of 32 bits, row by row, packed into beats without gaps. It decides in the cycle
// of issue which words a beat takes, so that the sequencer knows how long a write-back is, and moves them at stage 3,
// when the row is in the lanes (`sums`) or comes from their buffer (`stored`).
//
// A beat takes the end of one row and the beginning of the next, so rows of at least a beat leave no cycle idle. Of
// shorter rows one is read a cycle: then a write-back takes as many cycles as there are rows, if that is more than
// it has beats. The contract has no such limit.
module sail_drain #(
    parameter int LANES = 42,
    parameter int BATCH = 2,
    parameter int ACC_BITS = 32,
    parameter int PORT_BITS = 256,
    // Derived, not to be set.
    parameter int LANES_BITS = $clog2(LANES + 1),
    parameter int ROWS_BITS = $clog2(BATCH + 1)
) (
    input  logic                      clk,
    input  logic                      rst_n,
    input  logic                      go, // all stages move
    input  logic                      step, // a cycle of write-back is issued
    input  logic [ROWS_BITS-1:0]      rows,
    input  logic [LANES_BITS-1:0]     outputs,
    output logic                      next_row, // this step begins a row
    output logic [ROWS_BITS-1:0]      row,
    output logic                      last, // step
    input  logic [LANES*ACC_BITS-1:0] sums,
    input  logic [LANES*ACC_BITS-1:0] stored,
    output logic                      hold, // the port is not free for the beat at stage 3
    output logic                      results_valid,
    input  logic                      results_ready,
    output logic [PORT_BITS-1:0]      results_data,
    output logic                      results_last
);
  localparam int WORDS = PORT_BITS / 32; // of a beat
  localparam int CHUNKS = (LANES + WORDS - 1) / WORDS; // of a row
  localparam int CHUNK_BITS = CHUNKS < 2 ? 1 : $clog2(CHUNKS);
  localparam int COUNT_BITS = $clog2(WORDS + 1);

  function automatic logic [COUNT_BITS-1:0] at_most_a_beat(input logic [LANES_BITS-1:0] words);
    at_most_a_beat = 24'(words) < 24'(WORDS) ? COUNT_BITS'(words) : COUNT_BITS'(WORDS);
  endfunction

  typedef struct packed {
    logic emit;
    logic last;
    logic [CHUNK_BITS-1:0] chunk; // of the row in the lanes
    logic [COUNT_BITS-1:0] held; // words that wait for the rest of their beat
    logic [COUNT_BITS-1:0] old; // words of that chunk
    logic [COUNT_BITS-1:0] fresh; // words of the row that begins
  } step_t;

  // ---- Issue ----
  logic [LANES_BITS-1:0] left; // words of the row that was begun
  logic [CHUNK_BITS-1:0] chunk;
  logic [COUNT_BITS-1:0] held;
  step_t issued;
  wire [COUNT_BITS-1:0] old = at_most_a_beat(left);
  wire [LANES_BITS-1:0] left_after = left - LANES_BITS'(old);
  wire [COUNT_BITS:0] waiting = (COUNT_BITS + 1)'(held) + (COUNT_BITS + 1)'(old);
  assign next_row = left_after == '0 && row != rows && waiting < (COUNT_BITS + 1)'(WORDS);
  wire [COUNT_BITS-1:0] fresh = next_row ? at_most_a_beat(outputs) : '0;
  wire [COUNT_BITS:0] words = waiting + (COUNT_BITS + 1)'(fresh);
  wire whole = words >= (COUNT_BITS + 1)'(WORDS);
  wire all_read = (row == rows || next_row && row == rows - 1'b1) &&
                  (next_row ? outputs == LANES_BITS'(fresh) : left_after == '0);
  assign last = all_read && words <= (COUNT_BITS + 1)'(WORDS);
  assign issued = {whole || all_read, last, chunk, held, old, fresh};

  always_ff @(posedge clk)
    if (!rst_n || go && step && last) {left, chunk, held, row} <= '0;
    else if (go && step) begin
      left <= next_row ? outputs - LANES_BITS'(fresh) : left_after;
      chunk <= next_row ? CHUNK_BITS'(1) : chunk + 1'b1;
      held <= COUNT_BITS'(whole ? words - (COUNT_BITS + 1)'(WORDS) : words);
      row <= row + ROWS_BITS'(next_row);
    end

  // ---- Stages 1 to 3 ----
  logic [2:0] valid; // of stages 1, 2, 3
  step_t stage1, stage2, now;
  always_ff @(posedge clk)
    if (!rst_n) valid <= '0;
    else if (go) begin
      valid <= {valid[1:0], step};
      stage1 <= issued;
      stage2 <= stage1;
      now <= stage2;
    end

  // The first `count` words of a chunk, moved up by `by` words.
  function automatic logic [2*PORT_BITS-1:0] placed(input logic [WORDS*ACC_BITS-1:0] sums_in,
                                                    input logic [COUNT_BITS-1:0] count,
                                                    input logic [COUNT_BITS:0] by);
    placed = '0;
    for (int i = 0; i < WORDS; i++)
      if (COUNT_BITS'(i) < count) placed[32*i+:32] = 32'($signed(sums_in[ACC_BITS*i+:ACC_BITS]));
    placed = placed << {by, 5'b0};
  endfunction

  wire [CHUNKS*WORDS*ACC_BITS-1:0] padded = (CHUNKS * WORDS * ACC_BITS)'(sums);
  wire [CHUNKS*WORDS*ACC_BITS-1:0] padded_stored = (CHUNKS * WORDS * ACC_BITS)'(stored);
  logic [PORT_BITS-1:0] waits; // words whose beat is not full
  wire [2*PORT_BITS-1:0] packed_words =
      (2 * PORT_BITS)'(waits) |
      placed(padded[WORDS*ACC_BITS*now.chunk+:WORDS*ACC_BITS], now.old, (COUNT_BITS + 1)'(now.held)) |
      placed(padded_stored[WORDS*ACC_BITS-1:0], now.fresh, (COUNT_BITS + 1)'(now.held) + (COUNT_BITS + 1)'(now.old));
  wire emits = valid[2] && now.emit;
  assign hold = emits && results_valid && !results_ready;

  always_ff @(posedge clk)
    if (!rst_n) begin
      results_valid <= 1'b0;
      waits <= '0;
    end else begin
      if (results_ready) results_valid <= 1'b0;
      if (go && valid[2])
        waits <= !now.emit ? packed_words[PORT_BITS-1:0] : now.last ? '0 : packed_words[PORT_BITS+:PORT_BITS];
      if (go && emits) begin
        results_valid <= 1'b1;
        results_data <= packed_words[PORT_BITS-1:0];
        results_last <= now.last;
      end
    end
endmodule
