/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/linears.hh"

#include <algorithm>

namespace sailsim::kernels::decode
{

void block_sums(const Shape &shape, const Rounded &x, std::int32_t *sums)
{
    const std::size_t blocks = shape.blocks(), in_block = parts_of(shape.block(), kChunk);
    const std::size_t chunks = parts_of(shape.k, kChunk);
    for (std::size_t b = 0; b < x.batch(); ++b)
        for (std::size_t block = 0; block < blocks; ++block) {
            std::int32_t sum = 0;
            const std::size_t end = std::min((block + 1) * in_block, chunks);
            for (std::size_t chunk = block * in_block; chunk < end; ++chunk)
                sum += x.sums(b)[chunk];
            sums[b * blocks + block] = sum;
        }
}

} // namespace sailsim::kernels::decode
