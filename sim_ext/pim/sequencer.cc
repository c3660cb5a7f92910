/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/sequencer.hh"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "pim/convert.hh"

namespace sailsim::pim
{

namespace
{

/* Adds some patterns, of which a PRT serves hits. */
void add_patterns(TileCounts &counts, const FedPatterns &fed, bool prt)
{
    const std::int64_t hits = prt ? fed.hits : 0;
    const std::int64_t misses = fed.hits + fed.misses - hits;
    counts.lookups += fed.zero + hits + misses;
    counts.zero_patterns += fed.zero;
    counts.prt_hits += hits;
    counts.prt_misses += misses;
    counts.row_reads += misses;
}

} // namespace

TileSequencer::TileSequencer(const SliceConfig &slice, const TileShape &tile, const PatternProfile &counts,
                             Scaling scale)
    : config(slice), shape(tile), scaling(scale), profile(counts), layout(plan_tile(slice, tile, scale)),
      grouping(tile.k, tile.nbw, tile.group_size), costs(slice, tile, scale), adds(table_adds(tile.nbw)),
      clock(slice.double_buffer)
{
    if (profile.groups() != layout.groups)
        throw std::invalid_argument("profile has " + std::to_string(profile.groups()) +
                                    " groups: the tile has " + std::to_string(layout.groups));
    if (scaling.scaled && config.convert == Convert::memory && layout.convert_rounds == 0)
        throw std::invalid_argument("cols is " + std::to_string(config.cols) + ": a conversion takes " +
                                    std::to_string(convert_lane_bits(config.accumulator_bits)) +
                                    " cells of a row");
    begin_pass(0);
}

void TileSequencer::begin_pass(std::int64_t pass)
{
    const std::int64_t chunk = pass / layout.passes;
    outputs = std::min(layout.lanes, layout.owned - pass % layout.passes * layout.lanes);
    first_row = chunk * layout.chunk_rows;
    end_row = std::min(first_row + layout.chunk_rows, shape.batch);
    pending = GroupStep{};
    pending->pass = pass;
    pending->build_cycles = costs.build;
    loading = 0;
    begin_group(0);
}

void TileSequencer::go_to(std::int64_t pass, std::int64_t block)
{
    begin_pass(pass);
    left_of_block = 0;
    loading = 0;
    begin_group(block * grouping.groups_per_block());
}

void TileSequencer::repeat_since(const TileTiming &began, std::int64_t times)
{
    for (const TimingField &field : timing_fields)
        field.of(account) += times * (field.of(account) - field.of(began));
}

/* What it takes to load that many weights of every output. */
void TileSequencer::load_weights(std::int64_t weights)
{
    const bool again = pending->pass % layout.passes > 0 && !layout.keeps_activations;
    const std::int64_t rows = again ? end_row - first_row : 0;
    pending->load_bytes = weight_bytes(shape, weights, outputs);
    pending->activation_bytes = activation_bytes(shape, weights, rows);
    pending->load_cycles = load_cycles(config, costs, shape, weights, outputs, rows);
}

void TileSequencer::begin_group(std::int64_t group)
{
    GroupStep &step = *pending;
    step.group = group;
    if (group == 0 || left_of_block == 0)
        left_of_block = block_groups = std::min(grouping.groups_per_block(), layout.groups - group);
    step.groups = std::min(layout.groups_per_turn, left_of_block);
    left_of_block -= step.groups;
    const bool block_ends = left_of_block == 0;
    const bool pass_ends = group + step.groups == layout.groups;
    /* Turns of one length load alike; only the last of a block may be shorter. */
    const std::int64_t last = block_ends ? grouping.length(group + step.groups - 1) : shape.nbw;
    if (const std::int64_t weights = (step.groups - 1) * shape.nbw + last; weights != loading) {
        loading = weights;
        load_weights(weights);
    }

    const FedPatterns fed = feed(profile, {group, group + step.groups}, {first_row, end_row});
    step.zero_patterns = fed.zero;
    step.prt_hits = fed.hits;
    step.prt_misses = fed.misses;
    step.lookup_cycles = fed.lookup_cycles;
    step.convert_cycles = 0;
    step.conversions = 0;
    step.unit_converts = 0;
    step.merges = 0;
    step.write_back_bytes = 0;
    step.write_back_cycles = 0;
    if (block_ends)
        end_block(end_row - first_row, pass_ends);
}

/* What follows the last group of a block, and of the pass. */
void TileSequencer::end_block(std::int64_t rows, bool pass_ends)
{
    GroupStep &step = *pending;
    if (scaling.scaled)
        merge_sums(rows, block_groups);
    else if (pass_ends)
        merge_sums(rows, grouping.groups_per_block());
    if (scaling.scaled && config.convert != Convert::cores) {
        step.conversions = rows;
        step.convert_cycles = convert_cycles(config, costs, scaling, rows, outputs, pass_ends);
        if (config.convert == Convert::unit)
            step.unit_converts = rows * outputs * (1 + (scaling.minimum ? 1 : 0) + (pass_ends ? 1 : 0));
    }
    step.write_back_bytes = written_bytes(config, scaling, rows, outputs, pass_ends);
    step.write_back_cycles = ceil_div(step.write_back_bytes, config.port_bytes);
}

/* The DFMs that had one of so many groups of a block add their sums up: in pairs that exchange halves, all
 * pairs at once, so that each ends up with its share of the outputs. */
void TileSequencer::merge_sums(std::int64_t rows, std::int64_t groups)
{
    const std::int64_t used = std::min(layout.groups_per_turn, groups);
    pending->merges = rows * (used - 1);
    pending->lookup_cycles += rows * ceil_log2(used) * costs.merge;
}

GroupTimes TileSequencer::loaded(std::int64_t cycle)
{
    if (!pending)
        throw std::logic_error("loaded: every group of the tile is loaded already");
    const GroupStep &step = *pending;
    const std::int64_t load_start = clock.port_free;
    const TileClock::Turn turn =
        clock.advance(cycle, step.load_cycles, step.compute_cycles(), step.write_back_cycles);
    const GroupTimes times{step.pass,          step.group,          load_start,
                           turn.load_end,      turn.start,          step.build_cycles,
                           step.lookup_cycles, step.convert_cycles, step.write_back_cycles};

    account.load += turn.waited;
    account.build += step.build_cycles;
    account.lookup += step.lookup_cycles;
    account.convert += step.convert_cycles;
    account.write_back += step.write_back_cycles;
    account.weight_bytes += step.load_bytes;
    account.result_bytes += step.write_back_bytes;
    account.activation_bytes += step.activation_bytes;
    account.unit_converts += step.unit_converts;
    count(step);

    if (step.group + step.groups < layout.groups)
        begin_group(step.group + step.groups);
    else if (step.pass + 1 < layout.total_passes())
        begin_pass(step.pass + 1);
    else
        pending.reset();
    return times;
}

void TileSequencer::count(const GroupStep &step)
{
    TileCounts &counts = account.counts;
    add_patterns(counts, {step.zero_patterns, step.prt_hits, step.prt_misses, 0}, has_prt());
    counts.table_builds += step.groups;
    counts.table_adds += step.groups * adds;
    counts.row_reads += 2 * step.groups * adds;
    counts.row_writes += step.groups * (shape.nbw + adds);
    counts.merges += step.merges;
    counts.conversions += step.conversions;
}

TileTiming TileSequencer::with_patterns(TileTiming timing, const FedPatterns &fed) const
{
    timing.lookup += fed.lookup_cycles;
    add_patterns(timing.counts, fed, has_prt());
    return timing;
}

TileTiming TileSequencer::timing() const
{
    TileTiming timing = account;
    timing.total = clock.end();
    return timing;
}

} // namespace sailsim::pim
