// SPDX-License-Identifier: BSD-3-Clause
//
// From rows of lanes to beats of words, packed row by row without gaps: sums on their way to the result port or to
// the conversion units. In the cycle of issue it decides which words a beat takes, so that the sequencer knows how
// long it is at work; it moves them at stage 3, when a row is in the lanes (`held`) or comes to them (`comes`).
//
// A beat takes the end of one row and the beginning of the next. Only the last row may have fewer words than a beat
// (`sail_pack`), so every step fills one, but for the last.
module sail_drain #(
    parameter int LANES = 42,
    parameter int ROWS = 2, // at most
    parameter int IN_BITS = 32, // of a lane
    parameter int WORD_BITS = 32, // of a word: the lane's with its sign extended
    parameter int WORDS = 8, // of a beat
    // Derived, not to be set.
    parameter int LANES_BITS = $clog2(LANES + 1),
    parameter int ROWS_BITS = $clog2(ROWS + 1),
    parameter int COUNT_BITS = $clog2(WORDS + 1)
) (
    input  logic                       clk,
    input  logic                       rst_n,
    input  logic                       go, // all stages move
    input  logic                       step, // a cycle of work is issued
    input  logic [ROWS_BITS-1:0]       rows,
    input  logic [LANES_BITS-1:0]      outputs, // of a row
    input  logic [LANES_BITS-1:0]      last_outputs, // of the last
    output logic                       next_row, // this step begins a row
    output logic [ROWS_BITS-1:0]       row,
    output logic                       last, // step
    input  logic [LANES*IN_BITS-1:0]   held,
    input  logic [WORDS*IN_BITS-1:0]   comes, // its first words
    output logic                       hold, // there is no room for the beat at stage 3
    output logic                       emits, // a beat, at stage 3
    output logic                       emits_last,
    output logic [COUNT_BITS-1:0]      emits_words, // of the last beat
    output logic                       beat_valid,
    input  logic                       beat_ready,
    output logic [WORDS*WORD_BITS-1:0] beat,
    output logic                       beat_last
);
  localparam int CHUNKS = (LANES + WORDS - 1) / WORDS; // of a row
  localparam int CHUNK_BITS = CHUNKS < 2 ? 1 : $clog2(CHUNKS);
  localparam int BEAT_BITS = WORDS * WORD_BITS;

  function automatic logic [COUNT_BITS-1:0] at_most_a_beat(input logic [LANES_BITS-1:0] words);
    at_most_a_beat = 24'(words) < 24'(WORDS) ? COUNT_BITS'(words) : COUNT_BITS'(WORDS);
  endfunction

  typedef struct packed {
    logic last;
    logic [CHUNK_BITS-1:0] chunk; // of the row in the lanes
    logic [COUNT_BITS-1:0] waiting; // words of beats before
    logic [COUNT_BITS-1:0] old; // words of that chunk
    logic [COUNT_BITS-1:0] fresh; // words of the row that comes
  } step_t;

  // ---- Issue ----
  logic [LANES_BITS-1:0] left; // words of the row that was begun
  logic [CHUNK_BITS-1:0] chunk;
  logic [COUNT_BITS-1:0] waiting;
  step_t issued;
  wire [COUNT_BITS-1:0] old = at_most_a_beat(left);
  wire [LANES_BITS-1:0] left_after = left - LANES_BITS'(old);
  wire [COUNT_BITS:0] earlier = (COUNT_BITS + 1)'(waiting) + (COUNT_BITS + 1)'(old);
  assign next_row = left_after == '0 && row != rows && earlier < (COUNT_BITS + 1)'(WORDS);
  wire [LANES_BITS-1:0] row_words = row == rows - 1'b1 ? last_outputs : outputs;
  wire [COUNT_BITS-1:0] fresh = next_row ? at_most_a_beat(row_words) : '0;
  wire [COUNT_BITS:0] words = earlier + (COUNT_BITS + 1)'(fresh);
  wire all_read = (row == rows || next_row && row == rows - 1'b1) &&
                  (next_row ? row_words == LANES_BITS'(fresh) : left_after == '0);
  assign last = all_read && words <= (COUNT_BITS + 1)'(WORDS);
  assign issued = {last, chunk, waiting, old, fresh};

  always_ff @(posedge clk)
    if (!rst_n || go && step && last) {left, chunk, waiting, row} <= '0;
    else if (go && step) begin
      left <= next_row ? row_words - LANES_BITS'(fresh) : left_after;
      chunk <= next_row ? CHUNK_BITS'(1) : chunk + 1'b1;
      waiting <= COUNT_BITS'(words - (COUNT_BITS + 1)'(WORDS));
      row <= row + ROWS_BITS'(next_row);
    end

  // ---- Stages 1 to 3 ----
  logic [2:0] valid; // of stages 1, 2, 3
  step_t stage1, stage2, now;
  always_ff @(posedge clk)
    if (!rst_n) valid <= '0;
    else if (go) begin
      valid <= {valid[1:0], step};
      {stage1, stage2, now} <= {issued, stage1, stage2};
    end

  // The first `count` words of a chunk, moved up by `by` words.
  function automatic logic [2*BEAT_BITS-1:0] placed(input logic [WORDS*IN_BITS-1:0] lanes,
                                                    input logic [COUNT_BITS-1:0] count,
                                                    input logic [COUNT_BITS:0] by);
    placed = '0;
    for (int i = 0; i < WORDS; i++)
      if (COUNT_BITS'(i) < count) placed[WORD_BITS*i+:WORD_BITS] = WORD_BITS'($signed(lanes[IN_BITS*i+:IN_BITS]));
    placed = placed << by * WORD_BITS;
  endfunction

  wire [CHUNKS*WORDS*IN_BITS-1:0] chunks = (CHUNKS * WORDS * IN_BITS)'(held);
  wire [COUNT_BITS:0] now_earlier = (COUNT_BITS + 1)'(now.waiting) + (COUNT_BITS + 1)'(now.old);
  logic [BEAT_BITS-1:0] waits; // words whose beat is not full
  wire [2*BEAT_BITS-1:0] packed_words =
      (2 * BEAT_BITS)'(waits) |
      placed(chunks[WORDS*IN_BITS*now.chunk+:WORDS*IN_BITS], now.old, (COUNT_BITS + 1)'(now.waiting)) |
      placed(comes, now.fresh, now_earlier);
  assign {emits, emits_last} = {valid[2], now.last};
  assign emits_words = COUNT_BITS'(now_earlier + (COUNT_BITS + 1)'(now.fresh));
  assign hold = emits && beat_valid && !beat_ready;

  always_ff @(posedge clk)
    if (!rst_n) begin
      beat_valid <= 1'b0;
      waits <= '0;
    end else begin
      if (beat_ready) beat_valid <= 1'b0;
      if (go && emits) begin
        waits <= now.last ? '0 : packed_words[BEAT_BITS+:BEAT_BITS];
        {beat_valid, beat_last, beat} <= {1'b1, now.last, packed_words[BEAT_BITS-1:0]};
      end
    end
endmodule
