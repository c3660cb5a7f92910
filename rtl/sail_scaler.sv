// SPDX-License-Identifier: BSD-3-Clause
//
// The conversion of a block at the DFM: sums leave the lanes packed, UNITS at a time with the scales of their outputs,
// and floating-point units add them to y (fp32), which lies here in the same order. At the end of a pass y goes
// through the units once more, with the scales of the batch rows. Each round takes LATENCY + steps * INTERVAL cycles,
// as the contract says; the first of the LATENCY is the register of `sail_drain`.
//
// The scales of a block come while the block before it is worked on; those of the first before cycle 0.
module sail_scaler #(
    parameter int LANES = 42,
    parameter int BATCH = 2,
    parameter int ACC_BITS = 32,
    parameter int UNITS = 16, // at most LANES
    parameter int LATENCY = 12, // 4..16
    parameter int INTERVAL = 1,
    // Derived, not to be set.
    parameter int LANES_BITS = $clog2(LANES + 1),
    parameter int ROWS_BITS = $clog2(BATCH + 1),
    parameter int BEATS = (BATCH * LANES + UNITS - 1) / UNITS, // of y
    parameter int BEATS_BITS = $clog2(BEATS + 1)
) (
    input  logic                      clk,
    input  logic                      rst_n,
    input  logic                      go,
    input  logic                      begin_tile, // a scaled one
    input  logic [LANES_BITS-1:0]     tile_lanes,
    input  logic [32*BATCH-1:0]       tile_act_scales,
    input  logic                      over, // the tile
    input  logic                      scales_valid,
    output logic                      scales_ready,
    input  logic [16*UNITS-1:0]       scales_data,
    output logic                      scales_here,
    // The block at work.
    input  logic                      active, // a cycle of conversion
    input  logic                      pass_ends,
    input  logic                      tile_ends,
    input  logic [LANES_BITS-1:0]     outputs,
    output logic                      last, // cycle
    // Its sums come through the lanes, in rows as `sail_pack` left them.
    input  logic [ROWS_BITS-1:0]      packed_rows,
    input  logic [LANES_BITS-1:0]     packed_outputs,
    input  logic [LANES_BITS-1:0]     packed_last,
    output logic                      next_row,
    output logic [ROWS_BITS-1:0]      row,
    input  logic                      row_comes, // at stage 2
    input  logic [ROWS_BITS-1:0]      comes_row,
    input  logic [LANES*ACC_BITS-1:0] sums,
    input  logic [UNITS*ACC_BITS-1:0] stored, // at stage 3
    // Results of a pass, in beats of UNITS words.
    output logic [BEATS_BITS-1:0]     beats,
    output logic [LANES_BITS-1:0]     last_words, // of the last beat
    input  logic                      read,
    input  logic [BEATS_BITS-1:0]     read_beat,
    output logic [32*UNITS-1:0]       results
);
  localparam int CHUNKS = (LANES + UNITS - 1) / UNITS;
  localparam int CHUNK_BITS = $clog2(CHUNKS + 1);
  localparam int WAIT_BITS = $clog2(LATENCY + INTERVAL + 1);
  localparam int COUNT_BITS = $clog2(UNITS + 1);
  localparam int INDEX_BITS = BEATS < 2 ? 1 : $clog2(BEATS);
  localparam int WORD_BITS = 16 + 32; // a scale and a sum; in the second round a scale alone

  // Where `sail_convert` has registers, for a latency of its own: spread over its 14 inner boundaries.
  function automatic logic [13:0] spread(input int registers);
    for (int i = 0; i < 14; i++) spread[i] = (i + 1) * registers / 14 != i * registers / 14;
  endfunction

  // ---- Cycles of a conversion ----
  logic second_round, tail; // behind the steps
  logic [WAIT_BITS-1:0] waited;
  logic first_of_block, fresh; // no block of the pass came before
  wire runs = active && go && (!first_of_block || scales_here);
  wire step = runs && !tail && waited == '0;
  wire fetch = runs && first_of_block;
  logic step_last, was_last;
  wire steps_end = step ? step_last : was_last;
  wire tail_ends = tail && waited == WAIT_BITS'(LATENCY - 1);
  assign last = runs && tail_ends && (second_round || !pass_ends);

  always_ff @(posedge clk)
    if (!rst_n || begin_tile) begin
      {second_round, tail, waited} <= '0;
      {first_of_block, fresh} <= 2'b11;
    end else if (runs) begin
      first_of_block <= last;
      if (last) fresh <= pass_ends;
      if (step) was_last <= step_last;
      if (tail_ends) second_round <= pass_ends && !second_round;
      if (!tail && waited == WAIT_BITS'(INTERVAL - 1)) {tail, waited} <= {steps_end, WAIT_BITS'(0)};
      else if (tail_ends) {tail, waited} <= '0;
      else waited <= waited + 1'b1;
    end

  // ---- Scales ----
  logic [CHUNK_BITS-1:0] scale_chunk;
  logic [LANES_BITS-1:0] lanes;
  logic wanted;
  logic [32*BATCH-1:0] act_scales;
  logic [CHUNKS*16*UNITS-1:0] scales;
  assign scales_ready = wanted;
  wire take = scales_valid && scales_ready;
  wire take_last = take && 24'(scale_chunk) * 24'(UNITS) + 24'(UNITS) >= 24'(lanes);

  always_ff @(posedge clk)
    if (!rst_n || over) {wanted, scales_here, scale_chunk} <= '0;
    else if (begin_tile) {wanted, lanes, act_scales} <= {1'b1, tile_lanes, tile_act_scales};
    else begin
      if (take) scale_chunk <= take_last ? '0 : scale_chunk + 1'b1;
      if (fetch) wanted <= !tile_ends;
      else if (take_last) wanted <= 1'b0;
      if (take_last) scales_here <= 1'b1;
      else if (fetch) scales_here <= 1'b0;
    end

  for (genvar c = 0; c < CHUNKS; c++) begin : g_chunk
    sail_buffer #(
        .ROWS(1), .ROW_BITS(16 * UNITS)
    ) buffer (
        .clk, .read(fetch), .read_index(1'b0), .row_out(scales[16*UNITS*c+:16*UNITS]),
        .write(take && scale_chunk == CHUNK_BITS'(c)), .write_index(1'b0), .row_in(scales_data)
    );
  end

  // ---- Sums and scales. The first words of a packed row are of several batch rows: word w is as many rows and
  // outputs on from word 0 as w outputs are; the one behind them is word 0 of the next row. ----
  logic [ROWS_BITS-1:0] ahead_row;
  logic [COUNT_BITS-1:0] ahead_output;
  wire [ROWS_BITS-1:0] first_row = comes_row == '0 ? '0 : ahead_row; // of word 0
  wire [COUNT_BITS-1:0] first_output = comes_row == '0 ? '0 : ahead_output;
  wire [16*UNITS-1:0] first_scales = scales[16*UNITS-1:0];
  logic [32*UNITS-1:0] operands; // by which words are multiplied
  logic [UNITS*WORD_BITS-1:0] comes;
  for (genvar w = 0; w <= UNITS; w++) begin : g_word
    logic [ROWS_BITS-1:0] rows_on;
    logic [COUNT_BITS-1:0] outputs_on;
    always_comb begin
      {rows_on, outputs_on} = {ROWS_BITS'(w / UNITS), COUNT_BITS'(w % UNITS)}; // of rows that are not packed
      for (int n = 1; n < UNITS; n++)
        if (outputs == LANES_BITS'(n)) {rows_on, outputs_on} = {ROWS_BITS'(w / n), COUNT_BITS'(w % n)};
    end
    wire [COUNT_BITS:0] further = (COUNT_BITS + 1)'(first_output) + (COUNT_BITS + 1)'(outputs_on);
    wire next = 24'(further) >= 24'(outputs);
    wire [COUNT_BITS-1:0] output_of = COUNT_BITS'(next ? further - (COUNT_BITS + 1)'(outputs) : further);
    wire [ROWS_BITS-1:0] row_of = first_row + rows_on + ROWS_BITS'(next);
    if (w == UNITS) begin : g_ahead
      always_ff @(posedge clk) if (row_comes && go) {ahead_row, ahead_output} <= {row_of, output_of};
    end else begin : g_operand
      always_ff @(posedge clk)
        if (row_comes && go)
          operands[32*w+:32] <= second_round ? act_scales[32*row_of+:32] : {16'b0, first_scales[16*output_of+:16]};
      assign comes[WORD_BITS*w+:WORD_BITS] = second_round ? {16'b0, operands[32*w+:32]} :
          {operands[32*w+:16], 32'($signed(stored[ACC_BITS*w+:ACC_BITS]))};
    end
  end

  logic [31:0] held_act;
  logic [LANES*WORD_BITS-1:0] held;
  always_ff @(posedge clk) if (go) held_act <= operands[31:0];
  for (genvar o = 0; o < LANES; o++) begin : g_held
    assign held[WORD_BITS*o+:WORD_BITS] = second_round ? {16'b0, held_act} :
        {scales[16*o+:16], 32'($signed(sums[ACC_BITS*o+:ACC_BITS]))};
  end

  logic drain_next_row, emits, emits_last, beat_valid, beat_last, hold;
  logic [COUNT_BITS-1:0] emits_words;
  logic [UNITS*WORD_BITS-1:0] beat;
  sail_drain #(
      .LANES(LANES), .ROWS(BATCH), .IN_BITS(WORD_BITS), .WORD_BITS(WORD_BITS), .WORDS(UNITS)
  ) drain (
      .clk, .rst_n, .go, .step, .rows(packed_rows), .outputs(packed_outputs), .last_outputs(packed_last),
      .next_row(drain_next_row), .row, .last(step_last), .held, .comes, .hold, .emits, .emits_last, .emits_words,
      .beat_valid, .beat_ready(go), .beat, .beat_last
  );
  assign next_row = step && drain_next_row;
  wire unused = &{1'b0, hold, beat_last, scales};

  // ---- y, and the units ----
  logic [BEATS_BITS-1:0] index, beat_index, done_index;
  logic [UNITS-1:0] done_valid;
  logic [32*UNITS-1:0] done;
  always_ff @(posedge clk)
    if (!rst_n) index <= '0;
    else if (emits && go) begin
      index <= emits_last ? '0 : index + 1'b1;
      beat_index <= index;
      if (emits_last) {beats, last_words} <= {BEATS_BITS'(index + 1'b1), LANES_BITS'(emits_words)};
    end

  sail_buffer #(
      .ROWS(BEATS), .ROW_BITS(32 * UNITS)
  ) y (
      .clk, .read(go && (emits || read)), .read_index(INDEX_BITS'(emits ? index : read_beat)), .row_out(results),
      .write(done_valid[0]), .write_index(INDEX_BITS'(done_index)), .row_in(done)
  );

  for (genvar u = 0; u < UNITS; u++) begin : g_unit
    wire [WORD_BITS-1:0] word = beat[WORD_BITS*u+:WORD_BITS];
    wire [31:0] own = results[32*u+:32];
    logic [BEATS_BITS-1:0] tag;
    sail_convert #(
        .ACC_BITS(ACC_BITS), .TAG_BITS(BEATS_BITS), .CUTS(spread(LATENCY - 2))
    ) unit (
        .clk, .rst_n, .in_valid(beat_valid && go), .in_float(second_round),
        .in_value(second_round ? own : word[31:0]), .in_scale(second_round ? word[31:0] : {16'b0, word[47:32]}),
        .in_y(second_round ? 32'h8000_0000 : fresh ? 32'b0 : own), .in_tag(beat_index), .out_valid(done_valid[u]),
        .out_y(done[32*u+:32]), .out_tag(tag)
    );
    if (u == 0) begin : g_first
      assign done_index = tag;
    end else begin : g_rest
      wire unused_tag = &{1'b0, tag, done_valid[u]};
    end
  end
endmodule
