/* SPDX-License-Identifier: BSD-3-Clause */
// Compares the vectorised quantizer of activations with the scalar one, special magnitudes included.
#include "common/measure.hh"
#include "common/program.hh"
#include "gemv/format.hh"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

int main(int argc, char **argv)
{
    using namespace sailsim::kernels;
    Options options(argc, argv, "Checks the quantizer of activations bit for bit.");
    const std::size_t count = options.number("blocks", 4096, 1, 1 << 20, "blocks of 32 values");
    const std::uint64_t seed =
        options.number("seed", 1, 0, std::numeric_limits<std::uint64_t>::max(), "of the values");
    options.finish();

    Random random(seed);
    std::vector<float> values(count * kBlock);
    for (std::size_t block = 0; block < count; ++block) {
        // Every exponent that fp32 has, so that tiny and huge blocks, and halfway cases, occur.
        const int exponent = static_cast<int>(random.below(250)) - 125;
        const bool halves = random.below(4) == 0;
        for (std::size_t i = 0; i < kBlock; ++i) {
            float value = random.symmetric();
            if (halves)
                value = (std::nearbyint(value * 126.0f) + 0.5f) / 127.0f;
            values[block * kBlock + i] = std::ldexp(value, exponent);
        }
        if (halves)
            values[block * kBlock] = std::ldexp(1.0f, exponent);
    }
    std::vector<ActivationBlock> vectorised(count), scalar(count);
    quantize(values.data(), vectorised.data(), count);
    quantize_scalar(values.data(), scalar.data(), count);
    std::size_t mismatches = 0;
    for (std::size_t block = 0; block < count; ++block)
        mismatches += std::memcmp(&vectorised[block], &scalar[block], sizeof(ActivationBlock)) != 0;
    JsonLine().add("program", "quantize_check").add("blocks", count).add("mismatches", mismatches).print();
    return mismatches == 0 ? 0 : kExitWrong;
}
