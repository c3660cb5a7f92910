// SPDX-License-Identifier: BSD-3-Clause
//
// From the weight port to staging rows: cuts a group's stream of codes into rows of the pass's outputs, decodes each
// code to the integer that it means and writes a row a cycle. Rows of a short last group are zero.
//
// A beat that comes in one cycle is worked on in the next. `row_bits` may be any number, so a beat may end a row and
// begin the next: both parts are taken at once, and so is all that is left at the end, which keeps the port busy.
// What the port carries beside weights (`more_bytes`: activations that are read again) takes cycles of it in which no
// weights come, but comes by the activation port here.
//
// A load is done when all of its bytes are here. If they came late, short rows may still wait: row j is written at
// most j cycles later, before the build reads it. The rows of the next load follow then.
module sail_stager #(
    parameter int LANES = 42,
    parameter int NBW = 4,
    parameter int WBITS = 4,
    parameter int VALUE_BITS = 4,
    parameter int ENTRY_BITS = 6,
    parameter int CODE = 0,
    parameter int PORT_BITS = 256,
    // Derived, not to be set.
    parameter int LANES_BITS = $clog2(LANES + 1),
    parameter int ROW_BITS = LANES * ENTRY_BITS
) (
    input  logic                           clk,
    input  logic                           rst_n,
    input  logic                           open, // a load begins in this cycle
    input  logic [2:0]                     weights, // of the group, 1..NBW
    input  logic [LANES_BITS-1:0]          outputs, // of the pass
    input  logic [23:0]                    more_bytes,
    input  logic [WBITS-1:0]               zero_point,
    input  logic [VALUE_BITS*2**WBITS-1:0] book,
    input  logic                           weights_valid,
    output logic                           weights_ready,
    input  logic [PORT_BITS-1:0]           weights_data,
    output logic                           row_valid,
    output logic [2:0]                     row_index, // weight of the group
    output logic                           row_half, // of the staging rows, in turns
    output logic [ROW_BITS-1:0]            row,
    output logic                           done // all bytes are here, and as many cycles have passed as rows take
);
  localparam int PORT_BYTES = PORT_BITS / 8;
  localparam int CHUNKS = (LANES * WBITS + PORT_BITS - 1) / PORT_BITS; // of a row, each as wide as the port
  localparam int CHUNK_BITS = CHUNKS < 2 ? 1 : $clog2(CHUNKS);
  localparam int HAVE_BITS = $clog2(PORT_BITS + 1);

  // ---- The port: how much of the load is still to come ----
  logic loading;
  logic [2:0] least; // cycles that the rows still take
  logic [23:0] port_bits, port_bytes; // of codes; of all, as if the port never stood still
  wire [23:0] row_bits_now = 24'(outputs) * 24'(WBITS);
  wire [23:0] bits_now = open ? row_bits_now * 24'(weights) : port_bits;
  wire [23:0] bytes_now = open ? ((row_bits_now * 24'(weights) + 24'd7) >> 3) + more_bytes : port_bytes;

  logic beat_valid, use_beat;
  logic [PORT_BITS-1:0] beat;
  assign weights_ready = bits_now != '0 && (!beat_valid || use_beat);
  wire take_beat = weights_valid && weights_ready;
  assign done = loading && {port_bits, port_bytes, least} == '0;

  always_ff @(posedge clk)
    if (!rst_n) {loading, port_bits, port_bytes, beat_valid} <= '0;
    else begin
      loading <= open || loading && !done;
      least <= open ? 3'(NBW - 1) : least == '0 ? '0 : least - 1'b1;
      port_bits <= !take_beat ? bits_now : bits_now < 24'(PORT_BITS) ? '0 : bits_now - 24'(PORT_BITS);
      port_bytes <= bytes_now < 24'(PORT_BYTES) ? '0 : bytes_now - 24'(PORT_BYTES);
      if (take_beat) beat_valid <= 1'b1;
      else if (use_beat) beat_valid <= 1'b0;
      if (take_beat) beat <= weights_data;
    end

  // ---- Rows ----
  logic active, waits; // a group is at work; the one that was opened meanwhile waits for that
  logic [23:0] next_bits, row_bits, rest; // of a row; what the row at work still lacks
  logic [2:0] next_whole, whole, written, total; // rows with weights, those of them that are written, all that are
  logic [PORT_BITS-1:0] window; // bits that no row has taken yet
  logic [HAVE_BITS-1:0] have; // how many
  logic [CHUNKS*PORT_BITS-1:0] chunks; // of the row at work
  logic [CHUNK_BITS-1:0] at;

  wire wide = row_bits > 24'(PORT_BITS);
  wire more_rows = active && written != whole;
  assign use_beat = beat_valid && more_rows && (wide || 24'(have) < rest);

  wire [2*PORT_BITS-1:0] bits = (2 * PORT_BITS)'(window) | (use_beat ? (2 * PORT_BITS)'(beat) << have : '0);
  wire [HAVE_BITS:0] total_bits = (HAVE_BITS + 1)'(have) + (use_beat ? (HAVE_BITS + 1)'(PORT_BITS) : '0);
  wire ends = rest <= 24'(total_bits); // it may end in the second of two chunks
  wire [HAVE_BITS:0] taken = ends ? (HAVE_BITS + 1)'(rest) : (HAVE_BITS + 1)'(PORT_BITS);
  wire moves = more_rows && total_bits >= taken;
  wire row_ends = moves && ends;

  wire [2*PORT_BITS-1:0] left = bits >> taken;
  wire [HAVE_BITS:0] left_bits = total_bits - taken;
  wire begins_next = row_ends && left_bits >= (HAVE_BITS + 1)'(PORT_BITS); // its first chunk is here too

  wire ends_group = row_valid && total == 3'(NBW - 1);
  wire begins_group = (open || waits) && (!active || ends_group);
  wire [23:0] bits_of_next = open ? row_bits_now : next_bits;
  wire [2:0] whole_of_next = open ? weights : next_whole;

  always_ff @(posedge clk)
    if (begins_group) begin
      {row_bits, rest} <= {2{bits_of_next}};
      {have, window, at} <= '0;
    end else if (moves) begin
      window <= begins_next ? left[PORT_BITS+:PORT_BITS] : left[PORT_BITS-1:0];
      have <= HAVE_BITS'(begins_next ? left_bits - (HAVE_BITS + 1)'(PORT_BITS) : left_bits);
      rest <= !row_ends ? rest - 24'(PORT_BITS) : begins_next ? row_bits - 24'(PORT_BITS) : row_bits;
      at <= !row_ends ? at + 1'b1 : begins_next ? CHUNK_BITS'(1) : '0;
    end

  logic [CHUNKS*PORT_BITS-1:0] codes; // the row that ends
  for (genvar c = 0; c < CHUNKS; c++) begin : g_chunk
    always_ff @(posedge clk)
      if (moves && !row_ends && at == CHUNK_BITS'(c)) chunks[PORT_BITS*c+:PORT_BITS] <= bits[PORT_BITS-1:0];
      else if (begins_next && c == 0) chunks[PORT_BITS*c+:PORT_BITS] <= left[PORT_BITS-1:0];
    assign codes[PORT_BITS*c+:PORT_BITS] = at == CHUNK_BITS'(c) ? bits[PORT_BITS-1:0] :
        c > 0 && at == CHUNK_BITS'(c - 1) ? bits[PORT_BITS+:PORT_BITS] : chunks[PORT_BITS*c+:PORT_BITS];
  end

  wire zero_row = active && !row_ends && total - written != 3'(NBW) - whole;
  assign row_valid = row_ends || zero_row;
  assign row_index = row_ends ? written : whole + (total - written);

  always_ff @(posedge clk)
    if (!rst_n) {active, waits, row_half} <= '0;
    else begin
      active <= begins_group || active && !ends_group;
      waits <= (open || waits) && !begins_group;
      {next_bits, next_whole} <= {bits_of_next, whole_of_next};
      if (begins_group) begin
        row_half <= !row_half;
        whole <= whole_of_next;
        {written, total} <= '0;
      end else begin
        written <= written + 3'(row_ends);
        total <= total + 3'(row_valid);
      end
    end

  // ---- What the codes mean ----
  for (genvar o = 0; o < LANES; o++) begin : g_decode
    wire [WBITS-1:0] code = codes[WBITS*o+:WBITS];
    logic [VALUE_BITS-1:0] value;
    always_comb
      case (CODE)
        0: value = VALUE_BITS'($signed(code));
        1: value = VALUE_BITS'(code) - VALUE_BITS'(zero_point);
        2: value = VALUE_BITS'(code) - VALUE_BITS'(1);
        default: value = book[VALUE_BITS*code+:VALUE_BITS];
      endcase
    assign row[ENTRY_BITS*o+:ENTRY_BITS] = row_ends ? ENTRY_BITS'($signed(value)) : '0;
  end
  wire unused = &{1'b0, codes, zero_point, book};
endmodule
