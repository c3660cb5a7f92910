/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A tile: its shape, how K splits into blocks (of quantization) and groups (of NBW weights), and what its
 * phases cost, from the substrate's tallies (docs/contract.md, section 4).
 */
#ifndef SAILSIM_PIM_TILE_HH
#define SAILSIM_PIM_TILE_HH

#include <cstdint>
#include <map>
#include <utility>

#include "pim/config.hh"

namespace sailsim::pim
{

/* Limits of docs/contract.md, section 1. */
constexpr int max_wbits = 8;
constexpr int max_abits = 16;
constexpr std::int64_t max_batch = 1 << 20;
constexpr int max_nbw = 6; /* LUTMM_NBW_MAX */
constexpr int max_patterns = 1 << max_nbw;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b)
{
    return (a + b - 1) / b;
}

/* The least b with 2^b >= n. */
constexpr int ceil_log2(std::int64_t n)
{
    int bits = 0;
    while ((std::int64_t{1} << bits) < n)
        ++bits;
    return bits;
}

/* How K weights split: blocks of `block` weights, each into groups of nbw. A group never crosses a block, so
 * the last group of a block may be short, and so may the last block. */
class Grouping
{
  public:
    /* group_size = 0: one block of all K. Throws std::invalid_argument naming the field. */
    Grouping(std::int64_t k, int nbw, std::int64_t group_size);

    std::int64_t k() const { return total; }
    int nbw() const { return width; }
    std::int64_t blocks() const { return block_count; }
    std::int64_t groups() const { return group_count; }
    std::int64_t groups_per_block() const { return per_block; }
    /* Weights of a block; the last may be short. */
    std::int64_t block_size() const { return block; }

    std::int64_t block_of(std::int64_t group) const { return group / per_block; }
    /* The first weight of a group, and how many it has (NBW, or fewer at the end of a block). */
    std::int64_t start(std::int64_t group) const
    {
        return block_of(group) * block + group % per_block * width;
    }
    int length(std::int64_t group) const
    {
        const std::int64_t first = start(group);
        const std::int64_t block_end = (block_of(group) + 1) * block;
        const std::int64_t end = block_end < total ? block_end : total;
        return static_cast<int>(end - first < width ? end - first : width);
    }

  private:
    std::int64_t total;
    int width;
    std::int64_t block;
    std::int64_t block_count;
    std::int64_t per_block;
    std::int64_t group_count;
};

/* What happens to the block sums. */
struct Scaling {
    bool scaled = false;  /* each block is converted and scaled */
    bool minimum = false; /* each block has a minimum too */
};

/* One tile of work: y (batch, n) = x (batch, k) W (k, n). */
struct TileShape {
    std::int64_t k = 0;
    std::int64_t n = 0;
    std::int64_t batch = 0;
    int wbits = 0;      /* bits of a stored weight code, 1..8 */
    int value_bits = 0; /* signed bits of a weight value, 1..16 */
    int abits = 0;      /* bits of an activation, 1..16 */
    int nbw = 0;        /* weights of a group, 1..6 */
    std::int64_t group_size = 0;

    /* Throws std::invalid_argument naming the field. */
    void validate() const;
};

/* Bits of a table entry. */
std::int64_t entry_bits(const TileShape &shape);

/* Table entries that are sums of two others: 2^NBW - NBW - 1. */
std::int64_t table_adds(int nbw);

constexpr int fp32_bits = 32;

/* Type conversion in memory (docs/contract.md, section 5, has the steps in a table; lut_gemv/convert.py runs
 * them): how often each operation of each size is used. All lanes do the same. */
using Tally = std::map<std::pair<Op, std::int64_t>, std::int64_t>;

/* What the operations cost on a substrate. */
std::int64_t cycles(const Tally &tally, const Substrate &substrate);

/* Of a sum of `bits` bits, 2..63, to the nearest fp32, whatever its value. Throws std::invalid_argument. */
Tally int_to_fp32_tally(std::int64_t bits);

/* Cells that a lane needs while it converts an accumulator of `bits` bits. */
constexpr std::int64_t convert_lane_bits(std::int64_t bits)
{
    return bits > fp32_bits ? bits : fp32_bits;
}

/* Registers that int_to_fp32 has in use at most, beside the sum that it converts: s, w, e, t, m. */
constexpr int convert_registers = 5;

/* Bits of those in use at most: of s, w, t, m and e in the search; of s, w, t, z and e when it rounds; of s,
 * w, z and t when it packs. */
constexpr std::int64_t convert_register_bits(std::int64_t bits)
{
    const std::int64_t search = 4 * bits + 8, round = bits > 24 ? 3 * bits + 40 : 0, pack = bits + 88;
    return search > round ? (search > pack ? search : pack) : (round > pack ? round : pack);
}

/* Cycles that depend on a tile's widths alone. */
struct PhaseCosts {
    PhaseCosts(const SliceConfig &config, const TileShape &shape, Scaling scaling);

    /* Cycles of one group's patterns. */
    std::int64_t lookups(std::int64_t zeros, std::int64_t hits, std::int64_t misses) const
    {
        return zeros * zero + hits * hit + misses * miss;
    }

    bool prt;               /* whether a PRT saves the arrays anything */
    std::int64_t stage;     /* write a group's weights into the staging rows */
    std::int64_t build;     /* one table */
    std::int64_t zero;      /* a pattern that is 0 */
    std::int64_t hit;       /* one that the PRT holds */
    std::int64_t miss;      /* one that reads the table */
    std::int64_t merge;     /* a batch row of one DFM's sums to another's */
    std::int64_t block;     /* convert and scale the sums of a block in memory: one batch row, one round */
    std::int64_t act_scale; /* the same for the activation scale at the end of a pass */
};

} // namespace sailsim::pim

#endif
