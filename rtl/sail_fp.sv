// SPDX-License-Identifier: BSD-3-Clause
//
// Arithmetic of the conversion unit: fp32 with subnormals, rounded to nearest even, as NumPy's float32. Every NaN
// that comes out is 7fc00000. Each operation is a pipeline whose inner boundaries hold registers where its CUTS
// say so (bit 0 is the first). It moves every cycle.
// verilator lint_off DECLFILENAME

// STAGES registers one behind the other; none is a wire.
module sail_delay #(
    parameter int BITS = 1,
    parameter int STAGES = 1
) (
    input  logic            clk,
    input  logic [BITS-1:0] d,
    output logic [BITS-1:0] q
);
  if (STAGES == 0) begin : g_wire
    wire unused = &{1'b0, clk};
    assign q = d;
  end else begin : g_registers
    logic [BITS*STAGES-1:0] held;
    if (STAGES == 1) begin : g_one
      always_ff @(posedge clk) held <= d;
    end else begin : g_more
      always_ff @(posedge clk) held <= {held[BITS*(STAGES-1)-1:0], d};
    end
    assign q = held[BITS*STAGES-1-:BITS];
  end
endmodule

// The fp32 number nearest to a magnitude. If its second highest bit leads, it lies in [1, 2) * 2^(exponent - 127).
// The lowest bit may stand for all that were lost below it. Boundaries: how far to shift; shifted.
module sail_fp_pack #(
    parameter int BITS = 28,      // at least 26
    parameter int UNDERFLOWS = 0, // whether `exponent` may be below 1
    parameter bit [1:0] CUTS = 2'b0
) (
    input  logic               clk,
    input  logic               nan,
    input  logic               infinite,
    input  logic               sign,
    input  logic signed [9:0]  exponent,
    input  logic [BITS-1:0]    magnitude,
    output logic [31:0]        result
);
  localparam int COUNT_BITS = $clog2(BITS + 1);

  // To the left until the highest bit leads, but only as far as the exponent goes down to that of subnormals.
  logic [COUNT_BITS-1:0] zeros, left;
  logic [4:0] right; // 25 leave nothing that is half of the least number
  always_comb begin
    zeros = COUNT_BITS'(BITS);
    for (int i = 0; i < BITS; i++) if (magnitude[i]) zeros = COUNT_BITS'(BITS - 1 - i);
    left = exponent > 10'(zeros) ? zeros : COUNT_BITS'(exponent);
    right = '0;
    if (UNDERFLOWS != 0 && exponent < 0) begin
      left = '0;
      right = exponent < -25 ? 5'd25 : 5'(-exponent);
    end
  end

  logic nan_1, infinite_1, sign_1;
  logic signed [9:0] exponent_1;
  logic [COUNT_BITS-1:0] left_1;
  logic [4:0] right_1;
  logic [BITS-1:0] magnitude_1;
  sail_delay #(BITS + COUNT_BITS + 18, int'(CUTS[0])) shift_cut (
      clk, {nan, infinite, sign, exponent, left, right, magnitude},
      {nan_1, infinite_1, sign_1, exponent_1, left_1, right_1, magnitude_1});

  logic [BITS-1:0] shifted;
  logic lost;
  always_comb begin
    shifted = magnitude_1 << left_1;
    lost = 1'b0;
    if (UNDERFLOWS != 0 && right_1 != 0) begin
      shifted = magnitude_1 >> right_1;
      lost = |(magnitude_1 & ~({BITS{1'b1}} << right_1));
    end
  end
  // Below the exponent of subnormals nothing is shifted to the left, so the highest bit then is 0.
  wire [9:0] biased = shifted[BITS-1] ? exponent_1 + 10'd1 - 10'(left_1) : 10'd0;

  logic nan_2, infinite_2, sign_2, guard, sticky;
  logic [9:0] biased_2;
  logic [22:0] fraction;
  sail_delay #(38, int'(CUTS[1])) shifted_cut (
      clk,
      {nan_1, infinite_1, sign_1, biased, shifted[BITS-2-:23], shifted[BITS-25], |shifted[BITS-26:0] || lost},
      {nan_2, infinite_2, sign_2, biased_2, fraction, guard, sticky});

  // A carry out of the fraction raises the exponent, at the end to that of infinity.
  wire [32:0] rounded = {biased_2, fraction} + 33'(guard && (sticky || fraction[0]));
  wire overflows = infinite_2 || rounded[32:23] >= 10'd255;
  assign result = nan_2 ? 32'h7fc00000 : {sign_2, overflows ? 31'h7f800000 : rounded[30:0]};
endmodule

// A whole number of ACC_BITS bits to fp32. Boundaries: magnitude; those of sail_fp_pack.
module sail_int_to_fp32 #(
    parameter int ACC_BITS = 32,
    parameter bit [2:0] CUTS = 3'b0
) (
    input  logic                clk,
    input  logic [ACC_BITS-1:0] value,
    output logic [31:0]         result
);
  localparam int BITS = ACC_BITS < 26 ? 26 : ACC_BITS;
  logic sign;
  logic [ACC_BITS-1:0] magnitude;
  sail_delay #(ACC_BITS + 1, int'(CUTS[0])) magnitude_cut (
      clk, {value[ACC_BITS-1], value[ACC_BITS-1] ? -value : value}, {sign, magnitude});
  sail_fp_pack #(BITS, 0, CUTS[2:1]) pack (
      clk, 1'b0, 1'b0, sign, 10'(127 + ACC_BITS - 2), BITS'(magnitude) << (BITS - ACC_BITS), result);
endmodule

// What an fp32 number is: its significand, of 24 bits, and the exponent that goes with it.
module sail_fp_unpack (
    input  logic [30:0] x, // without its sign
    output logic        nan,
    output logic        infinite,
    output logic [7:0]  exponent, // biased; of subnormals that of the least normal ones
    output logic [23:0] significand
);
  assign nan = &x[30:23] && x[22:0] != '0;
  assign infinite = &x[30:23] && x[22:0] == '0;
  assign exponent = x[30:23] == '0 ? 8'd1 : x[30:23];
  assign significand = {x[30:23] != '0, x[22:0]};
endmodule

// Boundaries: a's products with parts of b; product; those of sail_fp_pack.
module sail_fp_mul #(
    parameter bit [3:0] CUTS = 4'b0
) (
    input  logic        clk,
    input  logic [31:0] a,
    input  logic [31:0] b,
    output logic [31:0] result
);
  localparam int PART = 4, PARTS = 24 / PART; // bits of b
  logic nan_a, nan_b, infinite_a, infinite_b;
  logic [7:0] exponent_a, exponent_b;
  logic [23:0] significand_a, significand_b;
  sail_fp_unpack unpack_a (a[30:0], nan_a, infinite_a, exponent_a, significand_a);
  sail_fp_unpack unpack_b (b[30:0], nan_b, infinite_b, exponent_b, significand_b);
  wire infinite = infinite_a || infinite_b;
  wire zero = a[30:0] == '0 || b[30:0] == '0;
  wire nan = nan_a || nan_b || infinite && zero;
  wire [9:0] exponent = 10'(exponent_a) + 10'(exponent_b) - 10'd127;
  logic [PARTS*(24+PART)-1:0] parts, parts_1;
  for (genvar i = 0; i < PARTS; i++) begin : g_part
    assign parts[(24+PART)*i+:24+PART] = (24 + PART)'(significand_a) * (24 + PART)'(significand_b[PART*i+:PART]);
  end

  logic [12:0] about_1, about_2; // what the product is beside its magnitude
  sail_delay #(13 + PARTS * (24 + PART), int'(CUTS[0])) parts_cut (
      clk, {nan, infinite, a[31] ^ b[31], exponent, parts}, {about_1, parts_1});
  logic [47:0] sum, product;
  always_comb begin
    sum = '0;
    for (int i = 0; i < PARTS; i++) sum += 48'(parts_1[(24+PART)*i+:24+PART]) << PART * i;
  end
  sail_delay #(61, int'(CUTS[1])) product_cut (clk, {about_1, sum}, {about_2, product});
  sail_fp_pack #(48, 1, CUTS[3:2]) pack (
      clk, about_2[12], about_2[11], about_2[10], about_2[9:0], product, result);
endmodule

// Boundaries: the larger first; aligned; sum; those of sail_fp_pack.
module sail_fp_add #(
    parameter bit [4:0] CUTS = 5'b0
) (
    input  logic        clk,
    input  logic [31:0] a,
    input  logic [31:0] b,
    output logic [31:0] result
);
  wire swap = a[30:0] < b[30:0];
  logic [31:0] larger, smaller;
  sail_delay #(64, int'(CUTS[0])) swap_cut (clk, swap ? {b, a} : {a, b}, {larger, smaller});

  logic nan_l, nan_s, infinite_l, infinite_s;
  logic [7:0] exponent_l, exponent_s;
  logic [23:0] significand_l, significand_s;
  sail_fp_unpack unpack_l (larger[30:0], nan_l, infinite_l, exponent_l, significand_l);
  sail_fp_unpack unpack_s (smaller[30:0], nan_s, infinite_s, exponent_s, significand_s);
  wire subtracts = larger[31] != smaller[31];
  wire nan = nan_l || nan_s || infinite_l && infinite_s && subtracts;

  // Two bits below the last, and one for all that are lost below those.
  wire [7:0] distance = exponent_l - exponent_s;
  logic [26:0] aligned;
  always_comb begin
    aligned = {significand_s, 3'd0} >> distance;
    aligned[0] |= |({significand_s, 3'd0} & ~(27'h7ffffff << distance));
  end

  logic [11:0] about_1, about_2; // what the sum is beside its magnitude, but for the sign of 0
  logic subtracts_1, subtracts_2;
  logic [23:0] significand_1;
  logic [26:0] aligned_1;
  logic [27:0] sum;
  sail_delay #(64, int'(CUTS[1])) aligned_cut (
      clk, {nan, infinite_l, larger[31], 1'b0, exponent_l, subtracts, significand_l, aligned},
      {about_1, subtracts_1, significand_1, aligned_1});
  sail_delay #(41, int'(CUTS[2])) sum_cut (
      clk,
      {about_1, subtracts_1,
       {1'b0, significand_1, 3'd0} + ({1'b0, aligned_1} ^ {28{subtracts_1}}) + 28'(subtracts_1)},
      {about_2, subtracts_2, sum});
  sail_fp_pack #(28, 0, CUTS[4:3]) pack (
      clk, about_2[11], about_2[10], about_2[9] && !(subtracts_2 && sum == '0), {1'b0, about_2[8:0]}, sum,
      result);
endmodule

// An fp16 number as fp32, exactly.
module sail_fp16_widen (
    input  logic [15:0] half,
    output logic [31:0] single
);
  logic [3:0] zeros; // of a subnormal number, before its leading one
  always_comb begin
    zeros = '0;
    for (int i = 0; i < 10; i++) if (half[i]) zeros = 4'(9 - i);
  end
  always_comb
    if (&half[14:10]) single = {half[15], 8'hff, half[9:0], 13'd0};
    else if (half[14:10] != '0) single = {half[15], 8'(half[14:10]) + 8'd112, half[9:0], 13'd0};
    else if (half[9:0] == '0) single = {half[15], 31'd0};
    else single = {half[15], 8'd112 - 8'(zeros), 10'(half[9:0] << zeros << 1), 13'd0};
endmodule
