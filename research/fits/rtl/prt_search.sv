// SPDX-License-Identifier: BSD-3-Clause
//
// The PRT that rtl/sail_prt.sv is compared with: it searches all keys, answers and replaces in one cycle. LRU keeps
// an age matrix: bit j of row i says that entry i was used before entry j.
module prt_search #(
    parameter int NBW = 6,
    parameter int ENTRIES = 32,
    parameter int POLICY = 0, // 0 LRU, 1 FIFO, 2 direct
    parameter int SLOT_BITS = ENTRIES < 2 ? 1 : $clog2(ENTRIES)
) (
    input  logic                 clk,
    input  logic                 rst_n,
    input  logic                 in_flush,
    input  logic                 in_valid,
    input  logic [NBW-1:0]       in_pattern,
    output logic                 in_ready,
    output logic                 out_valid,
    output logic                 out_hit,
    output logic [NBW-1:0]       out_pattern,
    output logic [SLOT_BITS-1:0] out_slot,
    input  logic                 out_ready
);
  assign in_ready = !out_valid || out_ready;
  logic [ENTRIES*NBW-1:0] keys;
  logic [ENTRIES-1:0] valid, match, victim, used;
  wire [ENTRIES-1:0] kept = in_flush ? '0 : valid;
  wire uses = in_valid && in_pattern != '0;
  wire hit = |match;
  for (genvar i = 0; i < ENTRIES; i++) begin : g_entry
    assign match[i] = kept[i] && keys[NBW*i+:NBW] == in_pattern && uses;
    assign used[i] = hit ? match[i] : victim[i] && uses;
    always_ff @(posedge clk)
      if (!rst_n) valid[i] <= 1'b0;
      else if (in_ready) begin
        valid[i] <= kept[i] || used[i];
        if (used[i]) keys[NBW*i+:NBW] <= in_pattern;
      end
  end
  if (POLICY == 0) begin : g_lru
    logic [ENTRIES*ENTRIES-1:0] before_;
    wire [ENTRIES-1:0] vacant = ~kept & (kept + 1'b1); // the first that is empty
    for (genvar i = 0; i < ENTRIES; i++) begin : g_row
      assign victim[i] = &kept ? &before_[ENTRIES*i+:ENTRIES] : vacant[i];
      for (genvar j = 0; j < ENTRIES; j++) begin : g_pair
        if (i == j) begin : g_self
          assign before_[ENTRIES*i+j] = 1'b1;
        end else if (i > j) begin : g_mirror
          assign before_[ENTRIES*i+j] = !before_[ENTRIES*j+i];
        end else begin : g_bit
          logic older;
          assign before_[ENTRIES*i+j] = older;
          always_ff @(posedge clk)
            if (in_ready && used[i]) older <= 1'b0;
            else if (in_ready && used[j]) older <= 1'b1;
        end
      end
    end
  end else if (POLICY == 1) begin : g_fifo
    logic [ENTRIES-1:0] next;
    assign victim = in_flush ? ENTRIES'(1) : next;
    always_ff @(posedge clk)
      if (!rst_n) next <= ENTRIES'(1);
      else if (in_ready && (in_flush || uses && !hit))
        next <= uses ? {victim[ENTRIES-2:0], victim[ENTRIES-1]} : victim;
  end else begin : g_direct
    for (genvar i = 0; i < ENTRIES; i++) begin : g_place
      assign victim[i] = in_pattern % NBW'(ENTRIES) == NBW'(i);
    end
  end
  logic [SLOT_BITS-1:0] slot;
  always_comb begin
    slot = '0;
    for (int i = 0; i < ENTRIES; i++) slot |= used[i] ? SLOT_BITS'(i) : '0;
  end
  always_ff @(posedge clk)
    if (!rst_n) out_valid <= 1'b0;
    else if (in_ready) begin
      out_valid <= in_valid;
      out_hit <= hit;
      out_pattern <= in_pattern;
      out_slot <= slot;
    end
endmodule
