/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a layout of a tile takes before its patterns are known: the cycles of the sequencer if every pattern
 * read the table and weights came as fast as the port takes them, in closed form.
 */
#ifndef SAILSIM_PIM_NOMINAL_HH
#define SAILSIM_PIM_NOMINAL_HH

#include <cstdint>

#include "pim/costs.hh"
#include "pim/plan.hh"

namespace sailsim::pim
{

class NominalTime
{
  public:
    /* Keeps references. */
    NominalTime(const SliceConfig &config, const TileShape &shape, Scaling scaling, const Grouping &grouping,
                const PhaseCosts &costs);

    std::int64_t cycles(const TilePlan &plan) const;

  private:
    /* Turns of a block: all but the last have the weights of whole groups. */
    struct Block {
        std::int64_t groups = 0;
        std::int64_t turns = 0;
        std::int64_t last_weights = 0;
    };

    /* A pass of a chunk: which outputs of which batch rows, and whether it is the chunk's first. */
    struct Pass {
        std::int64_t rows = 0;
        std::int64_t outputs = 0;
        bool is_first = false;
    };

    Block block_of(const TilePlan &plan, std::int64_t weights) const;
    std::int64_t load(const TilePlan &plan, const Pass &pass, std::int64_t weights) const;
    std::int64_t first_load(const TilePlan &plan, const Pass &pass, const Block &block) const;
    std::int64_t start(const TilePlan &plan, const Pass &pass) const;
    std::int64_t block_cycles(const TilePlan &plan, const Pass &pass, const Block &block, bool pass_ends,
                              std::int64_t next_load) const;
    std::int64_t pass_cycles(const TilePlan &plan, const Pass &pass, std::int64_t next_load) const;
    std::int64_t chunk_cycles(const TilePlan &plan, std::int64_t rows, std::int64_t next_load) const;
    std::int64_t merging(const TilePlan &plan, const Pass &pass, const Block &block, bool pass_ends) const;
    std::int64_t writing(const Pass &pass, bool pass_ends) const;

    const SliceConfig &config;
    const TileShape &shape;
    const Scaling scaling;
    const Grouping &grouping;
    const PhaseCosts &costs;
};

} // namespace sailsim::pim

#endif
