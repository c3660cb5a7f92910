/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The passes of a tile before its patterns are known: most cost the same again and again, and so do the
 * blocks inside a pass. The sequencer says what each kind costs; nothing here is reckoned otherwise.
 */
#ifndef SAILSIM_PIM_TILE_PASSES_HH
#define SAILSIM_PIM_TILE_PASSES_HH

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pim/sequencer.hh"

namespace sailsim::pim
{

/* The turns of a pass; what they look up is not in them. */
struct PassKind {
    std::int64_t rows = 0;        /* of the batch */
    std::int64_t outputs = 0;     /* lanes in use */
    bool again = false;           /* activations are read once more */
    std::vector<GroupStep> block; /* of every block but the last */
    std::vector<GroupStep> last_block;
};

/* Passes of one kind one behind the other. */
struct PassRun {
    std::size_t kind = 0;
    std::int64_t times = 0;
};

class TilePasses
{
  public:
    /* Throws std::invalid_argument. */
    TilePasses(const SliceConfig &config, const TileShape &shape, Scaling scaling);
    TilePasses(const TilePasses &) = delete; /* the sequencer refers to its profile */

    const TilePlan &plan() const { return sequencer.plan(); }
    const PhaseCosts &costs() const { return sequencer.phase_costs(); }
    std::int64_t batch() const { return all_rows; }
    bool double_buffer() const { return buffered; }
    const std::vector<PassKind> &kinds() const { return found; }

    /* The passes of a chunk of the batch, in the order in which they are worked, and its rows. */
    const std::vector<PassRun> &runs(std::int64_t chunk) const
    {
        return chunk + 1 < plan().batch_chunks ? of_chunk : of_last_chunk;
    }
    BatchRows rows(std::int64_t chunk) const
    {
        return {chunk * plan().chunk_rows, std::min((chunk + 1) * plan().chunk_rows, all_rows)};
    }

    /* The group behind those that are worked together with `group`, the first of them. */
    std::int64_t turn_end(std::int64_t group) const
    {
        const std::int64_t per_block = sequencer.groups_per_block();
        const std::int64_t block_end = std::min((group / per_block + 1) * per_block, plan().groups);
        return std::min(group + plan().groups_per_turn, block_end);
    }

    /* The account of a tile with some patterns; without `total`, and with the `load` of weights that are
     * always there: only where the arrays load nothing while they compute. */
    TileTiming timing(const FedPatterns &fed) const
    {
        return sequencer.with_patterns(account, FedPatterns{}, fed);
    }

  private:
    std::vector<PassRun> runs_of(std::int64_t chunk);
    std::size_t kind_of(const BatchRows &rows, std::int64_t pass);
    std::vector<GroupStep> account_for(std::int64_t pass, std::int64_t block, std::int64_t times);

    std::int64_t all_rows;
    bool buffered;
    PatternProfile no_patterns;
    TileSequencer sequencer;
    std::vector<PassKind> found;
    std::vector<std::int64_t> firsts; /* of every kind: the first pass of it */
    std::vector<PassRun> of_chunk, of_last_chunk;
    TileTiming account;
};

} // namespace sailsim::pim

#endif
