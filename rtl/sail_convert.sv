// SPDX-License-Identifier: BSD-3-Clause
//
// A floating-point unit of `convert = unit`: y + fp32(value) * scale, every step rounded to nearest even, no fused
// multiply-add (docs/contract.md, section 1). It takes a sum every cycle and answers LATENCY cycles later. The end
// of a pass takes the same way: with `in_float` value and scale are fp32 themselves, and y = -0 adds nothing.
module sail_convert #(
    parameter int ACC_BITS = 32,
    parameter int TAG_BITS = 1, // that go with a sum to its result
    // Which boundaries have registers: result of sail_int_to_fp32 and, below it, its own; the same of sail_fp_mul
    // and sail_fp_add, the last of which always has one.
    parameter bit [13:0] CUTS = 14'h3fff,
    // Derived, not to be set.
    parameter int INT_STAGES = int'(CUTS[0]) + int'(CUTS[1]) + int'(CUTS[2]) + int'(CUTS[3]),
    parameter int MUL_STAGES =
        int'(CUTS[4]) + int'(CUTS[5]) + int'(CUTS[6]) + int'(CUTS[7]) + int'(CUTS[8]),
    parameter int ADD_STAGES =
        int'(CUTS[9]) + int'(CUTS[10]) + int'(CUTS[11]) + int'(CUTS[12]) + int'(CUTS[13]) + 1,
    parameter int LATENCY = INT_STAGES + MUL_STAGES + ADD_STAGES,
    parameter int VALUE_BITS = ACC_BITS < 32 ? 32 : ACC_BITS
) (
    input  logic                  clk,
    input  logic                  rst_n, // synchronous
    input  logic                  in_valid,
    input  logic                  in_float,
    input  logic [VALUE_BITS-1:0] in_value, // a sum in the lowest ACC_BITS, or fp32
    input  logic [31:0]           in_scale, // fp16 in the lowest bits, or fp32
    input  logic [31:0]           in_y,
    input  logic [TAG_BITS-1:0]   in_tag,
    output logic                  out_valid,
    output logic [31:0]           out_y,
    output logic [TAG_BITS-1:0]   out_tag
);
  logic [LATENCY-1:0] valid;
  if (LATENCY == 1) begin : g_one
    always_ff @(posedge clk) valid <= rst_n && in_valid;
  end else begin : g_more
    always_ff @(posedge clk) valid <= rst_n ? {valid[LATENCY-2:0], in_valid} : '0;
  end
  assign out_valid = valid[LATENCY-1];
  sail_delay #(TAG_BITS, LATENCY) tag (clk, in_tag, out_tag);

  logic [31:0] whole, converted, given, value, widened, scale, y, product, scaled, summed;
  logic is_float;
  sail_int_to_fp32 #(ACC_BITS, CUTS[2:0]) to_float (clk, in_value[ACC_BITS-1:0], whole);
  sail_delay #(32, int'(CUTS[3])) whole_cut (clk, whole, converted);
  sail_delay #(1, INT_STAGES) float_beside (clk, in_float, is_float);
  sail_delay #(32, INT_STAGES) value_beside (clk, in_value[31:0], given);
  assign value = is_float ? given : converted;

  sail_fp16_widen widen (in_scale[15:0], widened);
  sail_delay #(32, INT_STAGES) scale_beside (clk, in_float ? in_scale : widened, scale);
  sail_fp_mul #(CUTS[7:4]) mul (clk, value, scale, product);
  sail_delay #(32, int'(CUTS[8])) product_cut (clk, product, scaled);

  sail_delay #(32, INT_STAGES + MUL_STAGES) y_beside (clk, in_y, y);
  sail_fp_add #(CUTS[13:9]) add (clk, y, scaled, summed);
  sail_delay #(32, 1) sum (clk, summed, out_y);
endmodule
