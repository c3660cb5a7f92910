/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/sequencer.hh"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace sailsim::pim
{

void TileTiming::add(const GroupStep &step, int nbw, std::int64_t times)
{
    build += times * step.build_cycles;
    lookup += times * step.merge_cycles;
    convert += times * step.convert_cycles;
    write_back += times * step.write_back_cycles;
    weight_bytes += times * step.load_bytes;
    result_bytes += times * step.write_back_bytes;
    activation_bytes += times * step.activation_bytes;
    unit_converts += times * step.unit_converts;
    const std::int64_t builds = times * step.groups, adds = pim::table_adds(nbw);
    table_builds += builds;
    table_adds += builds * adds;
    row_reads += 2 * builds * adds;
    row_writes += builds * (nbw + adds);
    merges += times * step.merges;
    conversions += times * step.conversions;
}

void TileTiming::add(const FedPatterns &fed, const PhaseCosts &costs)
{
    const std::int64_t hits = costs.prt ? fed.hits : 0, misses = fed.hits + fed.misses - hits;
    lookup += fed.lookup_cycles;
    lookups += fed.zero + hits + misses;
    zero_patterns += fed.zero;
    prt_hits += hits;
    prt_misses += misses;
    row_reads += misses;
}

TileSequencer::TileSequencer(const SliceConfig &slice, const TileShape &of_tile, const PatternProfile &counts,
                             Scaling scaling)
    : config(slice), shape(of_tile), profile(counts), layout(plan_tile(slice, of_tile, scaling)),
      grouping(shape.k, shape.nbw, shape.group_size), costs(config, shape, scaling),
      tile{config, shape, scaling, grouping, costs, layout}, clock(config.double_buffer)
{
    if (profile.groups() != layout.groups)
        throw std::invalid_argument("profile has " + std::to_string(profile.groups()) +
                                    " groups: the tile has " + std::to_string(layout.groups));
    pending = tile.turn(0, 0);
}

/* The patterns of a turn's groups, each by a DFM of its own; the slowest decides. A chunk of the batch feeds
 * its share of a group's patterns; over the chunks the shares are exact. */
FedPatterns TileSequencer::fed(const GroupStep &step) const
{
    const Span rows = layout.rows_of(step.pass / layout.passes);
    const auto share = [&](std::int64_t patterns) {
        return patterns * rows.end / shape.batch - patterns * rows.first / shape.batch;
    };
    FedPatterns sum;
    for (std::int64_t group = step.group; group < step.group + step.groups; ++group) {
        const auto g = static_cast<std::size_t>(group);
        const FedPatterns one{share(profile.zero()[g]), share(profile.hits()[g]), share(profile.misses()[g]),
                              0};
        sum.add(one, 1);
        sum.lookup_cycles = std::max(sum.lookup_cycles, costs.lookups(one.zero, one.hits, one.misses));
    }
    return sum;
}

GroupTimes TileSequencer::loaded(std::int64_t cycle)
{
    if (!pending)
        throw std::logic_error("loaded: every group of the tile is loaded already");
    const GroupStep &step = *pending;
    const FedPatterns patterns = fed(step);
    const std::int64_t load_start = clock.port_free;
    const TileClock::Turn turn = clock.advance(
        cycle, step.load_cycles, step.compute_cycles() + patterns.lookup_cycles, step.write_back_cycles);
    const GroupTimes times{step.pass,
                           step.group,
                           load_start,
                           turn.load_end,
                           turn.start,
                           step.build_cycles,
                           step.merge_cycles + patterns.lookup_cycles,
                           step.convert_cycles,
                           step.write_back_cycles};
    account.add(step, shape.nbw, 1);
    account.add(patterns, costs);

    if (step.group + step.groups < layout.groups)
        pending = tile.turn(step.pass, step.group + step.groups);
    else if (step.pass + 1 < layout.total_passes())
        pending = tile.turn(step.pass + 1, 0);
    else
        pending.reset();
    return times;
}

TileTiming TileSequencer::timing() const
{
    TileTiming timing = account;
    timing.load = clock.load;
    timing.total = clock.end();
    return timing;
}

} // namespace sailsim::pim
