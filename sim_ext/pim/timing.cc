/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/timing.hh"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

#include "pim/convert.hh"

namespace sailsim::pim
{

namespace
{

constexpr int result_bytes = 4; /* int32 or fp32 */

int ceil_log2(int n)
{
    int bits = 0;
    while ((1 << bits) < n)
        ++bits;
    return bits;
}

std::int64_t table_rows(int nbw)
{
    return (std::int64_t{1} << nbw) - 1; /* the zero entry is free */
}

/* Outputs that all arrays together hold at a time while they convert. */
std::int64_t convert_lanes(const SliceConfig &config)
{
    if (config.substrate.layout == Layout::columns)
        return config.arrays * config.cols;
    return config.arrays * (config.cols / convert_lane_bits(config.accumulator_bits));
}

/* `to` + `times` * (`to` - `from`), field by field. */
TileTiming repeated(const TileTiming &from, const TileTiming &to, std::int64_t times)
{
    TileTiming sum = to;
    for (const auto field : {&TileTiming::load, &TileTiming::build, &TileTiming::lookup, &TileTiming::convert,
                             &TileTiming::write_back, &TileTiming::load_busy, &TileTiming::weight_bytes,
                             &TileTiming::result_bytes})
        sum.*field += times * (to.*field - from.*field);
    for (const auto field : {&TileCounts::lookups, &TileCounts::zero_patterns, &TileCounts::prt_hits,
                             &TileCounts::prt_misses, &TileCounts::table_builds, &TileCounts::table_adds,
                             &TileCounts::row_reads, &TileCounts::row_writes, &TileCounts::conversions})
        sum.counts.*field += times * (to.counts.*field - from.counts.*field);
    return sum;
}

/* std::ceil of what a cycle can be; the library's is a call. */
std::int64_t whole_cycles(double cycles)
{
    const auto whole = static_cast<std::int64_t>(cycles);
    return whole + (static_cast<double>(whole) < cycles ? 1 : 0);
}

void require_rate(double bytes_per_cycle)
{
    if (!(bytes_per_cycle > 0))
        throw std::invalid_argument("bytes_per_cycle is " + std::to_string(bytes_per_cycle) +
                                    ": allowed are positive numbers");
}

/* When the next group's weights are here if they come at `bytes_per_cycle` from the start of their load. */
std::int64_t arrival(const TileSequencer &sequencer, double bytes_per_cycle)
{
    const std::int64_t bytes = sequencer.next_load()->load_bytes;
    const double cycles = std::ceil(static_cast<double>(bytes) / bytes_per_cycle);
    if (cycles > 1e15)
        throw std::invalid_argument("bytes_per_cycle is " + std::to_string(bytes_per_cycle) +
                                    ": too little to load " + std::to_string(bytes) + " bytes");
    return sequencer.load_start() + static_cast<std::int64_t>(cycles);
}

} // namespace

TilePlan plan_tile(const SliceConfig &config, const TileShape &shape)
{
    config.validate();
    shape.validate();
    const Grouping grouping(shape.k, shape.nbw, shape.group_size);
    const bool transposed = config.substrate.layout == Layout::columns;
    const bool in_array = config.substrate.accumulate == Accumulate::in_array;

    TilePlan plan;
    plan.groups = grouping.groups();
    plan.blocks = grouping.blocks();
    plan.owned = ceil_div(shape.n, config.slices);
    plan.entry_bits = shape.value_bits + ceil_log2(shape.nbw);

    if (transposed)
        plan.lane_bits = 1;
    else
        plan.lane_bits =
            in_array ? std::max<std::int64_t>(plan.entry_bits, config.accumulator_bits) : plan.entry_bits;
    if (config.cols < plan.lane_bits)
        throw std::invalid_argument("cols is " + std::to_string(config.cols) + ": one output takes " +
                                    std::to_string(plan.lane_bits) + " cells of a row");
    plan.lanes = config.arrays * (config.cols / plan.lane_bits);
    plan.outputs_per_pass = std::min(plan.lanes, plan.owned);
    plan.passes = ceil_div(plan.owned, plan.lanes);

    const std::int64_t table = table_rows(shape.nbw) * (transposed ? plan.entry_bits : 1);
    const std::int64_t staging = 2 * shape.nbw * (transposed ? shape.value_bits : 1);
    const std::int64_t row_of_sums = !in_array ? 0 : transposed ? config.accumulator_bits : 1;
    if (config.rows < table + staging + row_of_sums)
        throw std::invalid_argument("rows is " + std::to_string(config.rows) + ": the tile needs " +
                                    std::to_string(table + staging + row_of_sums) + " (table " +
                                    std::to_string(table) + ", staging " + std::to_string(staging) +
                                    ", sums of one batch row " + std::to_string(row_of_sums) + ")");
    plan.chunk_rows = shape.batch;
    if (in_array)
        plan.chunk_rows = std::min(shape.batch, (config.rows - table - staging) / row_of_sums);
    plan.batch_chunks = ceil_div(shape.batch, plan.chunk_rows);
    plan.rows_needed = table + staging + plan.chunk_rows * row_of_sums;

    const std::int64_t lanes = convert_lanes(config);
    plan.convert_rounds = lanes > 0 ? ceil_div(plan.outputs_per_pass, lanes) : 0;
    return plan;
}

TileSequencer::TileSequencer(const SliceConfig &slice, const TileShape &tile, const PatternProfile &counts,
                             Scaling scale)
    : config(slice), shape(tile), scaling(scale), profile(counts), layout(plan_tile(slice, tile)),
      grouping(tile.k, tile.nbw, tile.group_size), table_adds(table_rows(tile.nbw) - tile.nbw)
{
    if (profile.groups() != layout.groups)
        throw std::invalid_argument("profile has " + std::to_string(profile.groups()) +
                                    " groups: the tile has " + std::to_string(layout.groups));
    if (scaling.scaled && config.convert_in_memory && layout.convert_rounds == 0)
        throw std::invalid_argument("cols is " + std::to_string(config.cols) + ": a conversion takes " +
                                    std::to_string(convert_lane_bits(config.accumulator_bits)) +
                                    " cells of a row");
    const Substrate &s = config.substrate;
    const Widths widths{shape.value_bits, layout.entry_bits, config.accumulator_bits};
    stage_cycles = shape.nbw * s.cycles(Phase::stage, widths);
    build_cycles = table_adds * s.cycles(Phase::table_add, widths);
    miss_cycles = s.cycles(Phase::lookup, widths);
    hit_cycles = s.prt_helps && config.prt_entries > 0 ? config.t_prt : miss_cycles;
    block_cycles =
        int_to_fp32_tally(config.accumulator_bits).cycles(s) + s.cycles(Phase::scale_block, widths);
    if (scaling.minimum)
        block_cycles *= 2; /* the sum of the activations takes the same way */
    act_scale_cycles = s.cycles(Phase::scale_row, widths);
    begin_pass(0);
}

void TileSequencer::begin_pass(std::int64_t pass)
{
    const std::int64_t chunk = pass / layout.passes;
    outputs = std::min(layout.lanes, layout.owned - pass % layout.passes * layout.lanes);
    first_row = chunk * layout.chunk_rows;
    end_row = std::min(first_row + layout.chunk_rows, shape.batch);
    const std::int64_t lanes = convert_lanes(config);
    convert_rounds = lanes > 0 ? ceil_div(outputs, lanes) : 0;
    pending = GroupStep{};
    pending->pass = pass;
    pending->build_cycles = build_cycles;
    loading = 0;
    begin_group(0);
}

/* What it takes to load that many weights of every output. */
void TileSequencer::load_weights(std::int64_t weights)
{
    pending->load_bytes = ceil_div(weights * outputs * shape.wbits, 8);
    pending->load_cycles = std::max(ceil_div(pending->load_bytes, config.port_bytes), stage_cycles);
}

void TileSequencer::begin_group(std::int64_t group)
{
    GroupStep &step = *pending;
    step.group = group;
    const bool pass_ends = group + 1 == layout.groups;
    left_of_block = group == 0 || left_of_block == 0 ? grouping.groups_per_block() : left_of_block;
    const bool block_ends = --left_of_block == 0 || pass_ends;
    /* Groups of one length load alike; only the last of a block may be shorter. */
    if (const std::int64_t weights = block_ends ? grouping.length(group) : shape.nbw; weights != loading) {
        loading = weights;
        load_weights(weights);
    }

    /* A chunk of the batch feeds its share of the group's patterns; over the chunks the shares are exact. */
    const std::int64_t rows = end_row - first_row;
    const auto share = [this, rows](std::int64_t patterns) {
        if (rows == shape.batch)
            return patterns;
        return patterns * end_row / shape.batch - patterns * first_row / shape.batch;
    };
    const auto g = static_cast<std::size_t>(group);
    step.zero_patterns = share(profile.zero[g]);
    step.prt_hits = share(profile.hits[g]);
    step.prt_misses = share(profile.misses[g]);
    step.lookup_cycles =
        step.zero_patterns * config.t_zero + step.prt_hits * hit_cycles + step.prt_misses * miss_cycles;

    step.convert_cycles = 0;
    step.conversions = 0;
    step.write_back_bytes = 0;
    step.write_back_cycles = 0;
    if (block_ends)
        end_block(rows, pass_ends);
}

/* What follows the last group of a block, and of the pass. */
void TileSequencer::end_block(std::int64_t rows, bool pass_ends)
{
    GroupStep &step = *pending;
    if (scaling.scaled && config.convert_in_memory) {
        step.conversions = rows;
        step.convert_cycles = rows * convert_rounds * block_cycles;
        if (pass_ends)
            step.convert_cycles += rows * convert_rounds * act_scale_cycles;
    }
    if (scaling.scaled && !config.convert_in_memory)
        step.write_back_bytes = ceil_div(rows * outputs * config.accumulator_bits, 8);
    else if (pass_ends)
        step.write_back_bytes = rows * outputs * result_bytes;
    step.write_back_cycles = ceil_div(step.write_back_bytes, config.port_bytes);
}

GroupTimes TileSequencer::loaded(std::int64_t cycle)
{
    if (!pending)
        throw std::logic_error("loaded: every group of the tile is loaded already");
    const GroupStep &step = *pending;
    const std::int64_t arrival = std::max(cycle, port_free + step.load_cycles);
    const std::int64_t ready = std::max(arrival, compute_end);
    account.load_busy += arrival - port_free;
    account.load += ready - compute_end;

    const std::int64_t start = ready + owed_write_back;
    const GroupTimes times{step.pass,
                           step.group,
                           port_free,
                           arrival,
                           start,
                           step.build_cycles,
                           step.lookup_cycles,
                           step.convert_cycles,
                           step.write_back_cycles};
    compute_end = start + step.compute_cycles();
    if (config.double_buffer) {
        port_free = start;
        owed_write_back = step.write_back_cycles;
    } else {
        compute_end += step.write_back_cycles;
        port_free = compute_end;
    }

    account.build += step.build_cycles;
    account.lookup += step.lookup_cycles;
    account.convert += step.convert_cycles;
    account.write_back += step.write_back_cycles;
    account.weight_bytes += step.load_bytes;
    account.result_bytes += step.write_back_bytes;
    count(step);

    if (step.group + 1 < layout.groups)
        begin_group(step.group + 1);
    else if (step.pass + 1 < layout.total_passes())
        begin_pass(step.pass + 1);
    else
        pending.reset();
    return times;
}

void TileSequencer::count(const GroupStep &step)
{
    TileCounts &counts = account.counts;
    const bool prt = config.substrate.prt_helps && config.prt_entries > 0;
    const std::int64_t hits = prt ? step.prt_hits : 0;
    const std::int64_t misses = step.prt_hits + step.prt_misses - hits;
    counts.lookups += step.zero_patterns + hits + misses;
    counts.zero_patterns += step.zero_patterns;
    counts.prt_hits += hits;
    counts.prt_misses += misses;
    counts.table_builds += 1;
    counts.table_adds += table_adds;
    counts.row_reads += 2 * table_adds + misses;
    counts.row_writes += shape.nbw + table_adds;
    counts.conversions += step.conversions;
}

TileTiming TileSequencer::timing() const
{
    TileTiming timing = account;
    timing.total = compute_end + owed_write_back;
    return timing;
}

std::int64_t TileSequencer::skip_equal_passes(const TileTiming &began, std::int64_t began_at)
{
    /* Where a pass ends, port and arrays stand as its last group left them, whatever came before. So equal
     * passes behind an equal pass all take the same time. */
    if (!pending || pending->group != 0)
        return 0;
    const std::int64_t in_chunk = pending->pass % layout.passes;
    const std::int64_t skipped = layout.passes - 1 - in_chunk;
    if (in_chunk < 2 || skipped < 1)
        return 0;
    account = repeated(began, account, skipped);
    const std::int64_t shift = skipped * (port_free - began_at);
    port_free += shift;
    compute_end += shift;
    begin_pass(pending->pass + skipped);
    return shift;
}

TileTiming time_tile(const SliceConfig &config, const TileShape &shape, const PatternProfile &profile,
                     Scaling scaling, double bytes_per_cycle)
{
    TileSequencer sequencer(config, shape, profile, scaling);
    require_rate(bytes_per_cycle);
    while (sequencer.next_load()) {
        const TileTiming began = sequencer.timing();
        const std::int64_t began_at = sequencer.load_start();
        const std::int64_t pass = sequencer.next_load()->pass;
        while (sequencer.next_load() && sequencer.next_load()->pass == pass)
            sequencer.loaded(arrival(sequencer, bytes_per_cycle));
        sequencer.skip_equal_passes(began, began_at);
    }
    return sequencer.timing();
}

namespace
{

/* When a slice's bytes are asked for, at a steady rate while the buffer has room. */
class Fetcher
{
  public:
    explicit Fetcher(const Supply &way) : supply(way), now(-way.lead) {}

    /* The cycle at which the last byte of the next group is here. */
    double arrival(std::int64_t bytes)
    {
        const double end = position + static_cast<double>(bytes);
        while (position < end) {
            const double room = freed + supply.ahead;
            if (room > position) {
                advance(std::min(end, room));
            } else if (next_leaving == leaving.size() || leaving[next_leaving].cycle >= in_turn) {
                wait_until(in_turn); /* the group that the arrays wait for may always come */
                advance(end);
            } else {
                wait_until(leaving[next_leaving].cycle);
                freed = leaving[next_leaving].end;
                ++next_leaving;
            }
        }
        return std::max(now, resumed) + supply.latency;
    }

    /* Where fetching stands against the arrays, which are at `cycle`. */
    std::array<double, 3> standing(std::int64_t cycle) const
    {
        const auto at = static_cast<double>(cycle);
        return {std::max(now, resumed) - at, in_turn - at, position - freed};
    }

    /* As if `cycles` with as much of everything as before had gone by. */
    void skip(std::int64_t cycles)
    {
        const auto by = static_cast<double>(cycles);
        now += by;
        resumed += by;
        in_turn += by;
        for (std::size_t i = next_leaving; i < leaving.size(); ++i)
            leaving[i].cycle += by;
    }

    /* That group's bytes were all here at `arrived` and leave the buffer at `cycle`. */
    void taken(double arrived, std::int64_t cycle)
    {
        in_turn = arrived;
        if (next_leaving == leaving.size()) {
            leaving.clear();
            next_leaving = 0;
        }
        leaving.push_back({static_cast<double>(cycle), position});
    }

  private:
    struct Leaving {
        double cycle;
        double end; /* position behind the group */
    };

    /* What was under way has come meanwhile, so as much as may be under way can be asked for at once. */
    void wait_until(double cycle)
    {
        resumed = std::max(resumed, cycle);
        now = std::max(now, cycle - supply.latency);
    }

    void advance(double to)
    {
        now += (to - position) / supply.bytes_per_cycle;
        position = to;
    }

    const Supply &supply;
    double now; /* bytes up to `position` have been asked for, as the rate allows */
    double resumed = -std::numeric_limits<double>::infinity(); /* and not before here */
    double position = 0;
    double freed = 0; /* bytes that have left the buffer */
    /* From when the current group is the one that the arrays wait for. */
    double in_turn = -std::numeric_limits<double>::infinity();
    std::vector<Leaving> leaving;
    std::size_t next_leaving = 0; /* those before have left */
};

void require_supply(const Supply &supply)
{
    require_rate(supply.bytes_per_cycle);
    const auto bad = [](double x) { return !(x >= 0); };
    if (bad(supply.latency) || bad(supply.lead) || bad(supply.ahead))
        throw std::invalid_argument("latency, lead and ahead are " + std::to_string(supply.latency) + ", " +
                                    std::to_string(supply.lead) + ", " + std::to_string(supply.ahead) +
                                    ": allowed are numbers from 0 on");
}

void require_arrival(double cycle, const Supply &supply, std::int64_t bytes)
{
    if (!(cycle < 1e15))
        throw std::invalid_argument("bytes_per_cycle is " + std::to_string(supply.bytes_per_cycle) +
                                    ": too little to load " + std::to_string(bytes) + " bytes");
}

} // namespace

TileTiming time_tile(const SliceConfig &config, const TileShape &shape, const PatternProfile &profile,
                     Scaling scaling, const Supply &supply)
{
    TileSequencer sequencer(config, shape, profile, scaling);
    require_supply(supply);
    Fetcher fetcher(supply);
    std::array<double, 3> before{};
    while (sequencer.next_load()) {
        const TileTiming began = sequencer.timing();
        const std::int64_t began_at = sequencer.load_start();
        const std::int64_t pass = sequencer.next_load()->pass;
        const GroupStep *step = nullptr;
        while ((step = sequencer.next_load()) && step->pass == pass) {
            const double arrived = std::max(0.0, fetcher.arrival(step->load_bytes));
            require_arrival(arrived, supply, step->load_bytes);
            fetcher.taken(arrived, sequencer.loaded(whole_cycles(arrived)).load_end);
        }
        /* Equal passes whose weights come a cycle sooner or later are equal here. */
        const std::array<double, 3> after = fetcher.standing(sequencer.load_start());
        const bool steady = std::equal(after.begin(), after.end(), before.begin(),
                                       [](double a, double b) { return std::abs(a - b) <= 1; });
        if (steady)
            fetcher.skip(sequencer.skip_equal_passes(began, began_at));
        before = after;
    }
    return sequencer.timing();
}

std::vector<GroupTimes> tile_timeline(const SliceConfig &config, const TileShape &shape,
                                      const PatternProfile &profile, Scaling scaling, const Supply &supply)
{
    TileSequencer sequencer(config, shape, profile, scaling);
    require_supply(supply);
    Fetcher fetcher(supply);
    std::vector<GroupTimes> groups;
    while (const GroupStep *step = sequencer.next_load()) {
        const double arrived = std::max(0.0, fetcher.arrival(step->load_bytes));
        require_arrival(arrived, supply, step->load_bytes);
        groups.push_back(sequencer.loaded(whole_cycles(arrived)));
        fetcher.taken(arrived, groups.back().load_end);
    }
    return groups;
}

std::vector<GroupTimes> tile_timeline(const SliceConfig &config, const TileShape &shape,
                                      const PatternProfile &profile, Scaling scaling,
                                      const std::vector<std::int64_t> &arrivals)
{
    TileSequencer sequencer(config, shape, profile, scaling);
    const TilePlan &plan = sequencer.plan();
    const auto expected = static_cast<std::size_t>(plan.total_passes() * plan.groups);
    if (arrivals.size() != expected)
        throw std::invalid_argument("arrivals has " + std::to_string(arrivals.size()) +
                                    " elements: the tile has " + std::to_string(expected) +
                                    " groups over all passes");
    std::vector<GroupTimes> groups;
    for (const std::int64_t cycle : arrivals)
        groups.push_back(sequencer.loaded(cycle));
    return groups;
}

} // namespace sailsim::pim
