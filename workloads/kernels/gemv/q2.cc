/* SPDX-License-Identifier: BSD-3-Clause */
#include "gemv/q2.hh"

#include "gemv/scales.hh"

#include <cmath>

namespace sailsim::kernels
{

void Q2::randomize(Panel &panel, Random &random)
{
    random.fill(&panel, sizeof panel);
    make_scales(panel.scale);
    make_scales(panel.minimum);
}

Q2::Row Q2::unpack(const Panel &panel, std::size_t row)
{
    Row out{};
    out.scale = panel.scale[row];
    out.minimum = panel.minimum[row];
    for (std::size_t u = 0; u < 16; ++u)
        out.scales[u] = panel.scales[u][row];
    for (std::size_t i = 0; i < 256; ++i) {
        const std::uint8_t packed = panel.q[i / 16][row / 4][4 * (row % 4) + i % 4];
        const unsigned code = (packed >> (2 * (i / 4 % 4))) & 3u;
        std::uint8_t &target = out.q[32 * (i / 128) + i % 32];
        target = static_cast<std::uint8_t>(target | (code << (2 * (i / 32 % 4))));
    }
    return out;
}

WeightParts Q2::weight(const Row &row, std::size_t i)
{
    const int code = (row.q[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
    const int packed = row.scales[i / 16];
    return {static_cast<double>(row.scale) * (packed & 15) * code,
            -static_cast<double>(row.minimum) * (packed >> 4)};
}

float Q2::reference(const Row *row, std::size_t blocks, const ActivationBlock *x)
{
    float sum = 0.0f;
    for (std::size_t block = 0; block < blocks; ++block, ++row) {
        float products = 0.0f, minima = 0.0f;
        for (std::size_t part = 0; part < 8; ++part, ++x) {
            std::int32_t dot = 0, offset = 0;
            for (std::size_t j = 0; j < 32; ++j) {
                const std::size_t i = 32 * part + j;
                const int code = (row->q[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
                dot += (row->scales[i / 16] & 15) * code * x->q[j];
                offset += (row->scales[i / 16] >> 4) * x->q[j];
            }
            products = std::fma(static_cast<float>(dot), x->scale, products);
            minima = std::fma(static_cast<float>(offset), x->scale, minima);
        }
        sum = std::fma(products, static_cast<float>(row->scale), sum);
        sum = std::fma(-minima, static_cast<float>(row->minimum), sum);
    }
    return sum;
}

} // namespace sailsim::kernels
