// SPDX-License-Identifier: BSD-3-Clause
//
// Works through a tile group by group: says when a load begins, and in every cycle what the arrays do. Build, look-up,
// conversion and write-back exclude each other; with DOUBLE_BUFFER the next group loads beside them. A write-back
// waits until the next group is here, which then waits for it, as the contract has it.
//
// `phase` is what this cycle counts as. A phase begins in the cycle in which its cause arises, so none is lost
// between two phases.
module sail_sequencer #(
    parameter int NBW = 4,
    parameter int ABITS = 8,
    parameter int BATCH = 2,
    parameter int LANES = 42,
    parameter int ZERO_CYCLES = 1, // of a pattern that is 0
    parameter int HIT_CYCLES = 1,
    parameter int MISS_CYCLES = 1,
    parameter int ADD_CYCLES = 4, // of a table entry, at least 4
    parameter int DOUBLE_BUFFER = 1,
    parameter int CONVERT = 1,
    // Derived, not to be set.
    parameter int LANES_BITS = $clog2(LANES + 1),
    parameter int ROWS_BITS = $clog2(BATCH + 1),
    parameter int BIT_BITS = ABITS < 2 ? 1 : $clog2(ABITS)
) (
    input  logic                  clk,
    input  logic                  rst_n,
    input  logic                  go, // else all but loads stands still
    // The tile.
    input  logic                  tile_valid,
    output logic                  tile_ready,
    input  logic [23:0]           tile_k,
    input  logic [23:0]           tile_block,
    input  logic [ROWS_BITS-1:0]  tile_rows,
    input  logic [23:0]           tile_outputs,
    input  logic [LANES_BITS-1:0] tile_lanes,
    input  logic                  tile_keep,
    input  logic                  tile_scaled,
    output logic [ROWS_BITS-1:0]  rows, // of the tile at work
    // Loads.
    output logic                  load, // one begins
    output logic [2:0]            load_weights,
    output logic [LANES_BITS-1:0] load_outputs,
    output logic [23:0]           load_more_bytes,
    input  logic                  loaded, // ends in this cycle
    // Patterns.
    input  logic                  pattern_valid,
    input  logic [NBW-1:0]        pattern,
    input  logic                  pattern_hit,
    output logic                  pattern_take,
    // What the arrays do.
    output logic [2:0]            phase,
    output logic                  half, // of the staging rows that hold the group at work
    output logic                  add_first, // read a new entry's first summand: its lowest weight
    output logic                  add_second,
    output logic                  add_write,
    output logic [NBW-1:0]        entry, // the new one
    output logic [BIT_BITS-1:0]   position, // of the pattern that is taken
    output logic [ROWS_BITS-1:0]  row, // its batch row
    output logic                  fresh, // no group of the block came before
    // Ends of blocks and passes.
    input  logic                  scales_here, // of the first block
    output logic                  sums_end, // with the group at work: those that are converted or written back
    output logic                  pass_ends,
    output logic                  tile_ends,
    input  logic                  convert_last, // cycle of a conversion
    output logic [LANES_BITS-1:0] outputs, // of the pass at work
    input  logic                  back_last, // cycle of a write-back
    output logic                  start, // a group's computing begins
    output logic                  begins, // cycle 0
    output logic                  over // the tile
);
  localparam logic [2:0] IDLE = 0, FILL = 1, SETTLE = 2, BUILD = 3, LOOKUP = 4, CONVERSION = 5, BACK = 6;
  localparam int STEP_BITS = $clog2(ADD_CYCLES + ZERO_CYCLES + HIT_CYCLES + MISS_CYCLES);

  logic [2:0] state;

  // ---- The tile, and the group that loads next ----
  logic [23:0] k, block, outputs_left, k_left, block_left;
  logic [LANES_BITS-1:0] lanes;
  logic keep, scaled, more, first_pass, sum_begins; // `more`: groups are still to be loaded
  wire block_last = block_left <= 24'(NBW);
  wire pass_last = block_last && k_left == block_left;
  wire tile_last = pass_last && outputs_left <= 24'(lanes);
  wire [23:0] weights = block_last ? block_left : 24'(NBW);
  wire [23:0] k_after = k_left - weights;

  assign load_weights = weights[2:0];
  assign load_outputs = outputs_left < 24'(lanes) ? LANES_BITS'(outputs_left) : lanes;
  assign load_more_bytes = keep || first_pass ? '0 : (24'(rows) * 24'(load_weights) * 24'(ABITS) + 24'd7) >> 3;

  // The group that is loading or loaded, and the one at work.
  logic waits, here; // there is one; its weights are staged
  logic next_fresh, next_block_last, next_pass_last, was_fresh, was_block_last, was_pass_last, was_half;
  logic [LANES_BITS-1:0] next_outputs, was_outputs;
  wire ready = waits && (here || loaded);
  wire work_block_last = start ? next_block_last : was_block_last;
  wire work_pass_last = start ? next_pass_last : was_pass_last;
  assign fresh = start ? next_fresh : was_fresh;
  assign half = was_half ^ start;
  assign outputs = start ? next_outputs : was_outputs;

  // ---- Phases ----
  logic owed; // a write-back
  wire settle = state == SETTLE && go;
  wire back = settle && owed && (DOUBLE_BUFFER == 0 || ready || !waits);
  assign start = settle && !owed && ready;
  assign over = settle && !owed && !waits && !more;
  assign begins = state == FILL && go && pattern_valid && (CONVERT != 2 || !scaled || scales_here);
  assign phase = back ? BACK : start ? (NBW > 1 ? BUILD : LOOKUP) : begins ? SETTLE : state;
  assign tile_ready = state == IDLE && go;
  assign load = more && (begins || (DOUBLE_BUFFER != 0 ? start : settle && !owed && !waits));

  logic [STEP_BITS-1:0] step; // BUILD: cycle of an addition; LOOKUP: cycles that the pattern still takes
  wire entry_ends = phase == BUILD && step == STEP_BITS'(ADD_CYCLES - 1);
  wire build_ends = entry_ends && &entry;
  assign add_first = phase == BUILD && go && step == '0;
  assign add_second = phase == BUILD && go && step == STEP_BITS'(1);
  assign add_write = entry_ends && go;

  assign pattern_take = phase == LOOKUP && go && step == '0 && pattern_valid;
  wire [STEP_BITS-1:0] cycles = pattern == '0 ? STEP_BITS'(ZERO_CYCLES) :
                                pattern_hit ? STEP_BITS'(HIT_CYCLES) : STEP_BITS'(MISS_CYCLES);
  wire pattern_ends = phase == LOOKUP && (step == STEP_BITS'(1) || pattern_take && cycles == STEP_BITS'(1));
  wire row_ends = position == BIT_BITS'(ABITS - 1);
  wire lookup_ends = pattern_ends && row_ends && row == rows - 1'b1;

  wire converts = CONVERT == 2 && scaled && work_block_last;
  assign sums_end = scaled ? work_block_last : work_pass_last;
  assign pass_ends = work_pass_last;
  assign tile_ends = !more && !waits;

  always_ff @(posedge clk)
    if (!rst_n) {state, more, waits, here, owed, step, was_half} <= '0;
    else begin
      was_half <= half; // in turns, as the stager has them
      if (loaded) here <= 1'b1;
      if (load) {waits, here} <= 2'b10;
      else if (start) {waits, here} <= 2'b00;
      if (tile_valid && tile_ready) more <= 1'b1;
      else if (load && tile_last) more <= 1'b0;

      if (go) begin
        if (phase == BUILD) step <= entry_ends ? '0 : step + 1'b1;
        else if (pattern_take) step <= cycles - 1'b1;
        else if (phase == LOOKUP && step != '0) step <= step - 1'b1;

        if (lookup_ends) owed <= CONVERT == 1 ? sums_end : work_pass_last;
        else if (phase == BACK && back_last) owed <= 1'b0;

        case (phase)
          IDLE: if (tile_valid) state <= FILL;
          FILL: state <= FILL;
          SETTLE: state <= over ? IDLE : SETTLE;
          BUILD: state <= build_ends ? LOOKUP : BUILD;
          LOOKUP: state <= !lookup_ends ? LOOKUP : converts ? CONVERSION : SETTLE;
          CONVERSION: if (convert_last) state <= SETTLE;
          default: state <= back_last ? SETTLE : BACK;
        endcase
      end
    end

  // ---- Registers that hold what a state needs, and say nothing in the others ----
  wire [NBW-1:0] next_entry = entry + 1'b1;
  always_ff @(posedge clk) begin
    if (tile_valid && tile_ready) begin
      {k, block, lanes, rows, keep, scaled} <= {tile_k, tile_block, tile_lanes, tile_rows, tile_keep, tile_scaled};
      {outputs_left, k_left, block_left} <= {tile_outputs, tile_k, tile_block};
      {first_pass, sum_begins} <= 2'b11;
      {entry, position, row} <= {NBW'(3), BIT_BITS'(0), ROWS_BITS'(0)};
    end
    if (load) begin
      {next_fresh, next_block_last, next_pass_last, next_outputs} <= {sum_begins, block_last, pass_last, load_outputs};
      sum_begins <= scaled ? block_last : pass_last;
      k_left <= pass_last ? k : k_after;
      if (!block_last) block_left <= block_left - 24'(NBW);
      else block_left <= pass_last || k_after > block ? block : k_after;
      if (pass_last) begin
        first_pass <= 1'b0;
        outputs_left <= outputs_left - 24'(load_outputs);
      end
    end
    if (start) {was_fresh, was_block_last, was_pass_last, was_outputs} <=
        {next_fresh, next_block_last, next_pass_last, next_outputs};
    // Entries of one weight are the staging rows themselves.
    if (add_write) entry <= &entry ? NBW'(3) : (next_entry & entry) == '0 ? next_entry + 1'b1 : next_entry;
    if (pattern_ends && go) begin
      position <= row_ends ? '0 : position + 1'b1;
      if (row_ends) row <= lookup_ends ? '0 : row + 1'b1;
    end
  end
endmodule
