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
//              p * lanes and up; `block` is K where there is one; `words` is rows * groups of a pass; `keep`
//              says that all of them lie in the DFM's buffer (words <= ACTIVATION_WORDS).
// activations  a word has the NBW activations of one batch row and group, weight j at bit j * ABITS, zeros where
//              a last group is short. Order: group by group, in it row by row. With `keep` one pass of words, all of
//              them before cycle 0; else those of every pass, of which ACTIVATION_WORDS (or all) come before it.
// weights      per pass and group: the codes of weight 0, of weight 1, ... (g of them), each of the pass's outputs
//              in order, WBITS each, packed from the LSB up without gaps. Every group begins a beat.
//              ceil(g * outputs * WBITS / PORT_BITS) beats.
// scales       (CONVERT 2 and `scaled`) per pass and block: fp16 of the pass's outputs in order, CONVERT_UNITS a beat,
//              ceil(lanes / CONVERT_UNITS) beats also where a last pass has fewer outputs.
// results      at the end of a pass (of a block, where sums are scaled by the cores): 32 bits for every batch row
//              and output of the pass, outputs innermost, packed without gaps; int32, or fp32 from the conversion
//              unit. `results_last` marks the last beat of a write-back; what is behind its last word is 0.
//
// `phase` says what a cycle is counted as; `event_*` are high in the cycle in which something begins, so the time
// between two is the contract's: cycle 0 (`event_begin`), a load begins, its weights are here, computing starts.
// Arrays work one cycle behind `phase`, results leave four cycles behind it: constants of a tile. Counters hold until
// the next tile. A results port that is not ready stops all but loads, within the cycle.
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
    output logic                          event_loaded, // the weights of a group are here: its load_end
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
  localparam int ENTRY_BITS = sail_pkg::ENTRY_BITS;
  localparam int ROW_BITS = LANES * ENTRY_BITS;
  localparam int SUMS_BITS = LANES * ACC_BITS;
  localparam int TABLE = 2 ** NBW; // entries
  localparam int ARRAY_ROWS = TABLE + 2 * NBW;
  localparam int INDEX_BITS = $clog2(ARRAY_ROWS);
  localparam int BIT_BITS = ABITS < 2 ? 1 : $clog2(ABITS);
  localparam int PLACES = sail_pkg::PRT_ENTRIES < 1 ? 1 :
                          sail_pkg::PRT_ENTRIES < TABLE - 1 ? sail_pkg::PRT_ENTRIES : TABLE - 1;
  localparam int SLOT_BITS = PLACES < 2 ? 1 : $clog2(PLACES); // as `sail_prt` has it
  localparam int SUMS_INDEX_BITS = BATCH < 2 ? 1 : $clog2(BATCH);
  localparam int BEATS = (BATCH * LANES + CONVERT_UNITS - 1) / CONVERT_UNITS; // of converted results
  localparam int PACKED = CONVERT == 2 ? CONVERT_UNITS : PORT_BITS / 32; // words of a packed row of sums
  localparam int PACKED_BITS = $clog2(PACKED + 1);
  localparam int BACK_ROWS = CONVERT == 2 && BEATS > BATCH ? BEATS : BATCH; // that a write-back may have
  localparam int BACK_BITS = $clog2(BACK_ROWS + 1);

  // The rows of the arrays: entry p at p, then two halves of staging rows. An entry of one weight is its staging row.
  function automatic logic [INDEX_BITS-1:0] staging_row(input logic [2:0] weight, input logic of_half);
    staging_row = INDEX_BITS'(TABLE) + INDEX_BITS'(weight) + (of_half ? INDEX_BITS'(NBW) : '0);
  endfunction
  function automatic logic [INDEX_BITS-1:0] row_of(input logic [NBW-1:0] p, input logic of_half);
    row_of = INDEX_BITS'(p);
    for (int j = 0; j < NBW; j++) if (p == NBW'(1) << j) row_of = staging_row(3'(j), of_half);
  endfunction

  // ---- Issue: what this cycle is for ----
  logic go;
  wire begin_tile = tile_valid && tile_ready;
  logic pattern_valid, pattern_hit, pattern_take;
  logic [NBW-1:0] pattern, entry;
  logic [SLOT_BITS-1:0] pattern_slot;
  logic half, add_first, add_second, add_write, fresh;
  logic [2:0] load_weights;
  logic [LANES_BITS-1:0] load_outputs, outputs;
  logic [23:0] load_more_bytes;
  logic [BIT_BITS-1:0] position;
  logic [ROWS_BITS-1:0] rows, row;
  logic sums_end, pass_ends, tile_ends, scales_here, convert_last, back_last;

  sail_sequencer #(
      .NBW(NBW), .ABITS(ABITS), .BATCH(BATCH), .LANES(LANES), .ZERO_CYCLES(sail_pkg::ZERO_CYCLES),
      .HIT_CYCLES(sail_pkg::HIT_CYCLES), .MISS_CYCLES(sail_pkg::MISS_CYCLES), .ADD_CYCLES(sail_pkg::ADD_CYCLES),
      .DOUBLE_BUFFER(sail_pkg::DOUBLE_BUFFER), .CONVERT(CONVERT)
  ) sequencer (
      .clk, .rst_n, .go, .tile_valid, .tile_ready, .tile_k, .tile_block, .tile_rows, .tile_outputs, .tile_lanes,
      .tile_keep, .tile_scaled, .rows, .load(event_load), .load_weights, .load_outputs, .load_more_bytes,
      .loaded(event_loaded), .pattern_valid, .pattern, .pattern_hit, .pattern_take, .phase, .half, .add_first,
      .add_second, .add_write, .entry, .position, .row, .fresh, .scales_here, .sums_end, .pass_ends, .tile_ends,
      .convert_last, .outputs, .back_last, .start(event_start), .begins(event_begin), .over(event_done)
  );

  sail_dfm #(
      .NBW(NBW), .ABITS(ABITS), .BATCH(BATCH), .WORDS(sail_pkg::ACTIVATION_WORDS),
      .PRT_ENTRIES(sail_pkg::PRT_ENTRIES), .PRT_POLICY(sail_pkg::PRT_POLICY), .SLOT_BITS(SLOT_BITS)
  ) dfm (
      .clk, .rst_n, .begin_tile, .clear(event_done), .tile_words, .tile_passes, .tile_keep, .rows,
      .activations_valid, .activations_ready, .activations_data, .pattern_valid, .pattern, .pattern_hit,
      .pattern_slot, .pattern_take
  );

  // ---- Staging, beside all of that ----
  logic [WBITS-1:0] zero_point;
  logic [VALUE_BITS*2**WBITS-1:0] book;
  always_ff @(posedge clk) if (begin_tile) {zero_point, book} <= {tile_zero_point, tile_book};

  logic staged, staged_half;
  logic [2:0] staged_weight;
  logic [ROW_BITS-1:0] staged_row;
  sail_stager #(
      .LANES(LANES), .NBW(NBW), .WBITS(WBITS), .VALUE_BITS(VALUE_BITS), .ENTRY_BITS(ENTRY_BITS), .CODE(CODE),
      .PORT_BITS(PORT_BITS)
  ) stager (
      .clk, .rst_n, .open(event_load), .weights(load_weights), .outputs(load_outputs), .more_bytes(load_more_bytes),
      .zero_point, .book, .weights_valid, .weights_ready, .weights_data, .row_valid(staged),
      .row_index(staged_weight), .row_half(staged_half), .row(staged_row), .done(event_loaded)
  );

  // ---- Stage 1: the arrays ----
  wire back = phase == 3'd6 && go;
  logic [BACK_BITS-1:0] back_row;
  logic [ROWS_BITS-1:0] convert_row;
  logic back_begins_row, convert_begins_row;
  logic converted; // what the tile writes back
  wire zero = pattern == '0;
  wire miss = pattern_take && !zero && !pattern_hit;
  wire [NBW-1:0] higher = entry & (entry - 1'b1); // the entry without its lowest weight

  logic access1, write1, first1, second1;
  logic [INDEX_BITS-1:0] index1;
  always_ff @(posedge clk)
    if (!rst_n) {access1, write1, first1, second1} <= '0;
    else if (go) begin
      {write1, first1, second1} <= {add_write, add_first, add_second};
      access1 <= add_first || add_second || add_write || miss;
      index1 <= row_of(add_first ? entry ^ higher : add_second ? higher : add_write ? entry : pattern,
                       half);
    end

  logic [ROW_BITS-1:0] made, read_row;
  sail_array #(
      .ROWS(ARRAY_ROWS), .ROW_BITS(ROW_BITS)
  ) arrays (
      .clk, .access(access1 && go), .write(write1), .index(index1), .row_in(made), .row_out(read_row),
      .stage(staged), .stage_index(staging_row(staged_weight, staged_half)), .stage_row(staged_row)
  );

  // What becomes of a look-up. A row that goes to the port or is converted passes through the lanes as an empty one.
  typedef struct packed {
    logic valid;
    logic empty; // adds nothing
    logic hit;
    logic miss;
    logic [SLOT_BITS-1:0] slot;
    logic [BIT_BITS-1:0] shift;
    logic minus;
    logic fresh; // the sum begins at 0,
    logic other; // or at what a buffer holds:
    logic y; // that of converted results
    logic last; // the sum goes to the buffer
    logic [PACKED_BITS-1:0] words, by; // packed there, moved up by so many words
    logic [BACK_BITS-1:0] row;
  } look_t;
  look_t look0, look1, look2, look3;
  wire last_bit = position == BIT_BITS'(ABITS - 1);
  logic [PACKED_BITS-1:0] pack_words, pack_by;
  logic [ROWS_BITS-1:0] pack_row;
  always_comb begin
    look0 = '0;
    look0.slot = pattern_slot;
    look0.shift = position;
    if (pattern_take) begin
      look0.valid = 1'b1;
      look0.empty = zero;
      look0.hit = pattern_hit;
      look0.miss = miss;
      look0.minus = SIGNED != 0 && last_bit && !zero;
      look0.fresh = fresh && position == '0;
      look0.other = !fresh && position == '0 && rows != ROWS_BITS'(1);
      look0.last = last_bit;
      {look0.words, look0.by} = {pack_words, pack_by};
      look0.row = BACK_BITS'(pack_words == '0 ? row : pack_row);
    end else if (convert_begins_row || back && back_begins_row) begin
      look0.valid = 1'b1;
      look0.empty = 1'b1;
      look0.other = 1'b1;
      look0.y = back && converted;
      look0.row = back ? back_row : BACK_BITS'(convert_row);
    end
  end
  logic first2, second2;
  always_ff @(posedge clk)
    if (!rst_n) {look1, look2, look3, first2, second2} <= '0;
    else if (go) {look1, look2, look3, first2, second2} <= {look0, look1, look2, first1, second1};

  // ---- Stage 2: the row is here, or the PRT's ----
  logic [ROW_BITS-1:0] prt_row;
  if (sail_pkg::PRT_ENTRIES > 0) begin : g_prt_rows
    sail_prt_rows #(
        .PLACES(PLACES), .ROW_BITS(ROW_BITS)
    ) prt_rows (
        .clk, .fill_valid(look2.miss), .fill_slot(look2.slot), .fill_row(read_row), .slot(look2.slot), .row(prt_row)
    );
  end else begin : g_no_prt_rows
    assign prt_row = '0;
  end

  logic [SUMS_BITS-1:0] sums, next_sums, stored_sums, stored, written;
  logic write_sums;
  logic [SUMS_INDEX_BITS-1:0] write_index;
  logic [ROWS_BITS-1:0] packed_rows;
  logic [LANES_BITS-1:0] packed_outputs, packed_last;
  sail_pack #(
      .LANES(LANES), .ROWS(BATCH), .WORD_BITS(ACC_BITS), .WORDS(PACKED)
  ) pack (
      .clk, .go, .start(event_start), .take(pattern_take && last_bit && sums_end), .rows, .outputs, .words(pack_words),
      .by(pack_by), .row(pack_row), .packed_rows, .packed_outputs, .packed_last, .now_take(look3.last),
      .now_words(look3.words), .now_by(look3.by), .now_row(ROWS_BITS'(look3.row)), .sums(next_sums),
      .write(write_sums), .write_index, .written
  );
  sail_buffer #(
      .ROWS(BATCH), .ROW_BITS(SUMS_BITS)
  ) sums_buffer (
      .clk, .read(look2.other && go), .read_index(SUMS_INDEX_BITS'(look2.row)), .row_out(stored_sums),
      .write(write_sums && go), .write_index, .row_in(written)
  );

  // ---- Stages 2 and 3: a lane behind every output ----
  for (genvar o = 0; o < LANES; o++) begin : g_lane
    sail_lane #(
        .ENTRY_BITS(ENTRY_BITS), .ACC_BITS(ACC_BITS), .SHIFT_BITS(BIT_BITS)
    ) lane (
        .clk, .entry(read_row[ENTRY_BITS*o+:ENTRY_BITS]), .keep(first2 && go), .add(second2 && go),
        .made(made[ENTRY_BITS*o+:ENTRY_BITS]), .look(look2.valid && go), .empty(look2.empty), .from_prt(look2.hit),
        .prt_entry(prt_row[ENTRY_BITS*o+:ENTRY_BITS]), .shift(look2.shift), .minus(look2.minus),
        .sum_enable(look3.valid && go), .minus_late(look3.minus), .fresh(look3.fresh), .other(look3.other),
        .stored(stored[ACC_BITS*o+:ACC_BITS]), .sum(sums[ACC_BITS*o+:ACC_BITS]),
        .next_sum(next_sums[ACC_BITS*o+:ACC_BITS])
    );
  end

  // ---- Conversion ----
  logic [LANES_BITS-1:0] back_outputs, back_last_outputs;
  logic [BACK_BITS-1:0] back_rows;
  if (CONVERT == 2) begin : g_scaler
    localparam int BEATS_BITS = $clog2(BEATS + 1);
    logic [BEATS_BITS-1:0] beats;
    logic [LANES_BITS-1:0] last_words;
    logic [32*CONVERT_UNITS-1:0] results;
    always_ff @(posedge clk) if (begin_tile) converted <= tile_scaled;
    sail_scaler #(
        .LANES(LANES), .BATCH(BATCH), .ACC_BITS(ACC_BITS), .UNITS(CONVERT_UNITS),
        .LATENCY(sail_pkg::CONVERT_LATENCY), .INTERVAL(sail_pkg::CONVERT_INTERVAL)
    ) scaler (
        .clk, .rst_n, .go, .begin_tile(begin_tile && tile_scaled), .tile_lanes, .tile_act_scales, .over(event_done),
        .scales_valid, .scales_ready, .scales_data, .scales_here, .active(phase == 3'd5), .pass_ends, .tile_ends,
        .outputs, .last(convert_last), .packed_rows, .packed_outputs, .packed_last, .next_row(convert_begins_row),
        .row(convert_row), .row_comes(look2.other), .comes_row(ROWS_BITS'(look2.row)), .sums,
        .stored(stored[ACC_BITS*CONVERT_UNITS-1:0]), .beats, .last_words, .read(look2.y),
        .read_beat(BEATS_BITS'(look2.row)), .results
    );
    assign stored = look3.y ? SUMS_BITS'(results) : stored_sums;
    assign {back_rows, back_outputs, back_last_outputs} =
        converted ? {BACK_BITS'(beats), LANES_BITS'(CONVERT_UNITS), last_words} :
        {BACK_BITS'(packed_rows), packed_outputs, packed_last};
  end else begin : g_no_scaler
    assign {scales_here, scales_ready, convert_last, convert_begins_row, convert_row, converted} = '0;
    assign stored = stored_sums;
    assign {back_rows, back_outputs, back_last_outputs} = {packed_rows, packed_outputs, packed_last};
    wire unused = &{1'b0, scales_valid, scales_data, tile_act_scales, pass_ends, tile_ends};
  end

  // ---- Results ----
  logic hold, emits, emits_last;
  logic [$clog2(PORT_BITS/32+1)-1:0] emits_words;
  assign go = !hold;
  sail_drain #(
      .LANES(LANES), .ROWS(BACK_ROWS), .IN_BITS(ACC_BITS), .WORD_BITS(32), .WORDS(PORT_BITS / 32)
  ) drain (
      .clk, .rst_n, .go, .step(back), .rows(back_rows), .outputs(back_outputs), .last_outputs(back_last_outputs),
      .next_row(back_begins_row), .row(back_row), .last(back_last), .held(sums),
      .comes(stored[ACC_BITS*(PORT_BITS/32)-1:0]), .hold, .emits, .emits_last, .emits_words,
      .beat_valid(results_valid), .beat_ready(results_ready), .beat(results_data), .beat_last(results_last)
  );
  wire unused_drain = &{1'b0, look3, emits, emits_last, emits_words};

  // ---- Counters ----
  always_ff @(posedge clk)
    if (!rst_n || begin_tile)
      {count_zero, count_hit, count_miss, count_builds, count_adds, count_row_reads, count_row_writes} <= '0;
    else begin
      count_zero <= count_zero + 32'(pattern_take && zero);
      count_hit <= count_hit + 32'(pattern_take && !zero && pattern_hit);
      count_miss <= count_miss + 32'(miss);
      count_builds <= count_builds + 32'(event_start);
      count_adds <= count_adds + 32'(add_write);
      count_row_reads <= count_row_reads + 32'(add_first || add_second || miss);
      count_row_writes <= count_row_writes + 32'(add_write) + 32'(staged);
    end
endmodule
