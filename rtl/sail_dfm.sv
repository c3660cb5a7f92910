// SPDX-License-Identifier: BSD-3-Clause
//
// The data feeding module: buffers activations, forms patterns (batch row by batch row, in it the LSB first) and
// asks the PRT about them. It runs ahead of the look-ups by what its stages and a queue of two hold, so the PRT may
// take as many cycles as it needs to: the first patterns of a group are known before its table is built.
//
// A tile whose activations fit the buffer (`keep`) is fed from it in every pass. Else the buffer is a queue, and
// the activation port brings the words again. The patterns go on behind the tile's end until `clear`.
module sail_dfm #(
    parameter int NBW = 4,
    parameter int ABITS = 8,
    parameter int BATCH = 2,
    parameter int WORDS = 1024, // that the buffer holds
    parameter int PRT_ENTRIES = 32,
    parameter int PRT_POLICY = 0,
    parameter int SLOT_BITS = 4, // of `sail_prt`
    // Derived, not to be set.
    parameter int ROWS_BITS = $clog2(BATCH + 1)
) (
    input  logic                 clk,
    input  logic                 rst_n,
    input  logic                 begin_tile, // what follows is its, until the next
    input  logic                 clear, // the tile is over
    input  logic [23:0]          tile_words, // of a pass
    input  logic [23:0]          tile_passes,
    input  logic                 tile_keep,
    input  logic [ROWS_BITS-1:0] rows,
    input  logic                 activations_valid,
    output logic                 activations_ready,
    input  logic [NBW*ABITS-1:0] activations_data,
    output logic                 pattern_valid,
    output logic [NBW-1:0]       pattern,
    output logic                 pattern_hit,
    output logic [SLOT_BITS-1:0] pattern_slot,
    input  logic                 pattern_take
);
  localparam int INDEX_BITS = WORDS < 2 ? 1 : $clog2(WORDS);
  localparam int BIT_BITS = ABITS < 2 ? 1 : $clog2(ABITS);

  function automatic logic [INDEX_BITS-1:0] after(input logic [INDEX_BITS-1:0] index, input logic [23:0] length);
    after = 24'(index) == length - 1'b1 ? '0 : index + 1'b1;
  endfunction

  // ---- The buffer fills ----
  logic [INDEX_BITS-1:0] put, get;
  logic [INDEX_BITS:0] level; // words that are still needed, as a queue
  logic [23:0] words, words_left, passes_left; // of a pass; still to be accepted
  logic keep;
  logic feeding; // all of a kept tile is here, or the queue was full once
  wire full = !keep && level == (INDEX_BITS + 1)'(WORDS);
  wire fetch;

  assign activations_ready = passes_left != '0 && !full;
  wire accept = activations_valid && activations_ready;
  wire fetch_last = fetch && !keep;

  always_ff @(posedge clk)
    if (!rst_n || clear) begin
      {put, get, level, passes_left, feeding} <= '0;
    end else if (begin_tile) begin
      {keep, words, words_left} <= {tile_keep, tile_words, tile_words};
      passes_left <= tile_keep ? 24'd1 : tile_passes;
    end else begin
      if (accept) begin
        put <= after(put, 24'(WORDS));
        words_left <= words_left == 24'd1 ? words : words_left - 1'b1;
        if (words_left == 24'd1) passes_left <= passes_left - 1'b1;
      end
      if (fetch) get <= after(get, keep ? words : 24'(WORDS));
      level <= level + (INDEX_BITS + 1)'(accept) - (INDEX_BITS + 1)'(fetch_last);
      if (level != '0 && (full || passes_left == '0)) feeding <= 1'b1;
    end

  // ---- Words come out of it, ... ----
  logic fetched_valid, use_fetched;
  logic [NBW*ABITS-1:0] fetched;
  assign fetch = feeding && (keep || level != '0) && (!fetched_valid || use_fetched);
  sail_buffer #(
      .ROWS(WORDS), .ROW_BITS(NBW * ABITS)
  ) activations (
      .clk, .read(fetch), .read_index(get), .row_out(fetched), .write(accept), .write_index(put),
      .row_in(activations_data)
  );

  // ---- ... and become patterns, a bit of each activation at a time ----
  logic word_valid;
  logic [NBW*ABITS-1:0] word;
  logic [BIT_BITS-1:0] position;
  logic [ROWS_BITS-1:0] row;
  wire last_bit = position == BIT_BITS'(ABITS - 1);
  wire formed_ready;
  wire next_word = !word_valid || formed_ready && last_bit;
  assign use_fetched = fetched_valid && next_word;

  always_ff @(posedge clk)
    if (!rst_n || clear) {fetched_valid, word_valid, position, row} <= '0;
    else begin
      fetched_valid <= fetch || fetched_valid && !use_fetched;
      if (next_word) word_valid <= fetched_valid;
      if (word_valid && formed_ready) begin
        position <= last_bit ? '0 : position + 1'b1;
        if (last_bit) row <= row == rows - 1'b1 ? '0 : row + 1'b1;
      end
    end

  logic [NBW-1:0] formed;
  for (genvar j = 0; j < NBW; j++) begin : g_weight
    assign formed[j] = word[ABITS*j];
    always_ff @(posedge clk)
      if (use_fetched) word[ABITS*j+:ABITS] <= fetched[ABITS*j+:ABITS];
      else if (formed_ready) word[ABITS*j+:ABITS] <= word[ABITS*j+:ABITS] >> 1;
  end

  // ---- The PRT answers ----
  logic known_valid, known_hit, known_ready;
  logic [NBW-1:0] known;
  logic [SLOT_BITS-1:0] known_slot;
  if (PRT_ENTRIES > 0) begin : g_prt
    sail_prt #(
        .NBW(NBW), .ENTRIES(PRT_ENTRIES), .POLICY(PRT_POLICY)
    ) prt (
        .clk, .rst_n(rst_n && !clear),
        .in_flush(word_valid && position == '0 && row == '0), // the group's first pattern
        .in_valid(word_valid), .in_pattern(formed), .in_ready(formed_ready), .out_valid(known_valid),
        .out_hit(known_hit), .out_pattern(known), .out_slot(known_slot), .out_ready(known_ready)
    );
  end else begin : g_no_prt
    assign {known_valid, known, known_hit} = {word_valid, formed, 1'b0};
    assign known_slot = '0;
    assign formed_ready = known_ready;
  end

  // ---- A queue of two, so that no stage before it waits for the arrays within a cycle ----
  typedef struct packed {
    logic [NBW-1:0] pattern;
    logic hit;
    logic [SLOT_BITS-1:0] slot;
  } known_t;
  known_t head, tail;
  logic [1:0] held;
  assign known_ready = held != 2'd2;
  assign pattern_valid = held != 2'd0;
  assign pattern = head.pattern;
  assign pattern_hit = head.hit;
  assign pattern_slot = head.slot;
  wire arrives = known_valid && known_ready;

  always_ff @(posedge clk)
    if (!rst_n || clear) held <= '0;
    else begin
      held <= held + 2'(arrives) - 2'(pattern_take);
      if (pattern_take && held == 2'd2) head <= tail;
      else if (arrives && held == 2'(pattern_take)) head <= {known, known_hit, known_slot};
      if (arrives) tail <= {known, known_hit, known_slot};
    end
endmodule
