// SPDX-License-Identifier: BSD-3-Clause
//
// The pattern reuse table (PRT) of a DFM: which patterns of a group were looked up last. It
// answers as `Prt` in sim_ext/pim/patterns.hh does, one pattern a cycle in order, also the same one twice.

// Says of every pattern whether the PRT holds it, and where. Pattern 0 passes and changes nothing. A flush holds
// before a pattern that comes with it. Answers come LATENCY moves later: one where a pattern has a single place,
// else two. All stages stand still while an answer is not taken.
module sail_prt #(
    parameter int NBW = 6,      // bits of a pattern; narrower ones have zeros above
    parameter int ENTRIES = 32, // 1..64
    parameter int POLICY = 2,   // 0 LRU, 1 FIFO, 2 direct: pattern p lies in entry p mod ENTRIES or nowhere
    // Derived, not to be set. There are no more patterns than PLACES, so more entries hold nothing.
    parameter int PLACES = ENTRIES < 2 ** NBW - 1 ? ENTRIES : 2 ** NBW - 1,
    parameter int SLOT_BITS = PLACES < 2 ? 1 : $clog2(PLACES)
) (
    input  logic                 clk,
    input  logic                 rst_n, // synchronous
    input  logic                 in_flush,
    input  logic                 in_valid,
    input  logic [NBW-1:0]       in_pattern,
    output logic                 in_ready, // also for a flush
    output logic                 out_valid,
    output logic                 out_hit,
    output logic [NBW-1:0]       out_pattern,
    output logic [SLOT_BITS-1:0] out_slot, // of the row: to be read on a hit, to be filled on a miss
    input  logic                 out_ready
);
  localparam int PATTERNS = 2 ** NBW;

  assign in_ready = !out_valid || out_ready;

  if (POLICY == 2 || PLACES == PATTERNS - 1) begin : g_vector
    // A pattern has one place, so a bit for each says all. No search, no order.
    logic [PATTERNS-1:0] resident, here;
    logic [PLACES-1:0] taken; // the place that this pattern takes

    for (genvar p = 0; p < PATTERNS; p++) begin : g_pattern
      assign here[p] = in_valid && in_pattern == NBW'(p) && p != 0;
      always_ff @(posedge clk)
        if (!rst_n) resident[p] <= 1'b0;
        else if (in_ready) resident[p] <= here[p] || resident[p] && !in_flush && !taken[p%PLACES];
    end

    logic [SLOT_BITS-1:0] slot;
    always_comb begin
      taken = '0;
      slot = '0;
      for (int p = 1; p < PATTERNS; p++) taken[p%PLACES] = taken[p%PLACES] || here[p];
      for (int i = 0; i < PLACES; i++) slot |= taken[i] ? SLOT_BITS'(i) : '0;
    end

    always_ff @(posedge clk)
      if (!rst_n) out_valid <= 1'b0;
      else if (in_ready) begin
        out_valid <= in_valid;
        out_hit <= |(here & resident) && !in_flush;
        out_pattern <= in_pattern;
        out_slot <= slot;
      end
  end else begin : g_search
    // Patterns lie in the order in which they would be given up, the last one first; 0 is none. One that enters,
    // or under LRU hits, goes to position 0, and those before its old position move by one.
    logic [PLACES*NBW-1:0] held;
    logic [PLACES*SLOT_BITS-1:0] slot; // of their rows; an entry keeps its own when it empties

    // The pattern at work, and the position at which it lies. `enters` is 0 for a bubble and for pattern 0.
    logic valid, flush, enters;
    logic [NBW-1:0] pattern;
    logic [PLACES-1:0] at;

    wire hit = |at;
    logic [PLACES-1:0] behind; // positions behind that of the pattern
    logic [PLACES-1:0] shifts; // positions that take what the one before them had
    logic [SLOT_BITS-1:0] found;
    always_comb begin
      behind = at << 1;
      for (int d = 1; d < PLACES; d *= 2) behind |= behind << d;
      found = hit ? '0 : slot[SLOT_BITS*(PLACES-1)+:SLOT_BITS];
      for (int i = 0; i < PLACES; i++) found |= at[i] ? slot[SLOT_BITS*i+:SLOT_BITS] : '0;
    end
    assign shifts = enters && (POLICY == 0 || !hit) ? ~behind : '0;

    // The next pattern is compared with what the table holds, while the one at work still changes it: its match
    // moves as the patterns do.
    logic [PLACES-1:0] same, next_at;
    for (genvar i = 0; i < PLACES; i++) begin : g_position
      assign same[i] = held[NBW*i+:NBW] == in_pattern;
      logic moved; // whether the pattern that comes to this position is the next one
      logic [NBW-1:0] comes;
      logic [SLOT_BITS-1:0] comes_slot;
      if (i == 0) begin : g_newest
        assign {moved, comes, comes_slot} = {pattern == in_pattern, pattern, found};
      end else begin : g_older
        assign moved = same[i-1] && !flush;
        assign comes = flush ? '0 : held[NBW*(i-1)+:NBW];
        assign comes_slot = slot[SLOT_BITS*(i-1)+:SLOT_BITS];
      end
      assign next_at[i] = shifts[i] ? moved : same[i] && !flush;
      always_ff @(posedge clk)
        if (!rst_n) begin
          held[NBW*i+:NBW] <= '0;
          slot[SLOT_BITS*i+:SLOT_BITS] <= SLOT_BITS'(i);
        end else if (in_ready && shifts[i]) begin
          held[NBW*i+:NBW] <= comes;
          slot[SLOT_BITS*i+:SLOT_BITS] <= comes_slot;
        end else if (in_ready && flush) held[NBW*i+:NBW] <= '0;
    end

    always_ff @(posedge clk)
      if (!rst_n) {out_valid, valid, flush, enters} <= '0;
      else if (in_ready) begin
        {valid, flush, pattern} <= {in_valid, in_flush, in_pattern};
        enters <= in_valid && in_pattern != '0;
        at <= in_valid && in_pattern != '0 && !in_flush ? next_at : '0;
        {out_valid, out_hit, out_pattern, out_slot} <= {valid, hit, pattern, found};
      end
  end
endmodule
