/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/tile.hh"

#include <algorithm>
#include <utility>

#include "base/intmath.hh"
#include "base/logging.hh"
#include "gem5/checkpoint.hh"

namespace gem5::sail
{

std::vector<Transfer> Tile::transfers(pim::Area which, Addr offset, Addr bytes) const
{
    const std::vector<Piece> &pieces = areas[which].pieces;
    std::vector<Transfer> found;
    auto piece = std::upper_bound(pieces.begin(), pieces.end(), offset,
                                  [](Addr at, const Piece &p) { return at < p.offset; });
    --piece; /* the one that holds `offset`: the first starts at 0 */
    const Addr end = offset + bytes;
    while (offset < end) {
        if (offset == piece->offset + piece->bytes)
            ++piece;
        const Addr physical = piece->physical + (offset - piece->offset);
        const Addr line_end = roundDown(physical, Addr{line_bytes}) + line_bytes;
        const Addr part =
            std::min({line_end - physical, end - offset, piece->offset + piece->bytes - offset});
        found.push_back(
            {physical, static_cast<unsigned>(part), nullptr, false, which, offset, -1, ring.secure});
        offset += part;
    }
    return found;
}

bool Tile::plan(const pim::SliceConfig &config)
{
    pim::Preparation prepared = pim::prepare_tile(descriptor, config, areas[pim::codebook_area].data.data());
    if (!prepared.verdict.ok()) {
        status = prepared.verdict.status;
        detail = prepared.verdict.detail;
        return false;
    }
    layout = pim::plan_tile(prepared.config, prepared.shape, prepared.scaling);
    preparation = std::move(prepared);
    planned = true;
    return true;
}

void Tile::start(Tick now)
{
    started = now;
    profile =
        pim::profile_activations(descriptor, preparation->config, areas[pim::activation_area].data.data());
    if (profile)
        sequencer.emplace(preparation->config, preparation->shape, *profile, preparation->scaling);
}

void Tile::add_unfetched(std::vector<Transfer> &found, pim::Area which, Addr offset, Addr bytes)
{
    /* Buffers start on a line, so lines of the buffer are lines of memory. */
    std::vector<std::uint8_t> &lines = fetched[which];
    const Addr size = areas[which].data.size();
    lines.resize(divCeil(size, Addr{line_bytes}));
    for (Addr line = offset / line_bytes; line * line_bytes < offset + bytes; ++line) {
        if (std::exchange(lines[line], 1))
            continue;
        const Addr first = line * line_bytes;
        for (const Transfer &read : transfers(which, first, std::min<Addr>(line_bytes, size - first)))
            found.push_back(read);
    }
}

std::vector<Transfer> Tile::expand_next()
{
    if (all_expanded())
        return {};
    const lutmm_descriptor &d = descriptor;
    const std::int64_t pass = expanded / layout->turns;
    const std::int64_t turn = expanded % layout->turns;
    if (turn == 0)
        for (auto &lines : fetched)
            lines.assign(lines.size(), 0); /* the unit keeps no weights from pass to pass */

    const std::int64_t first = pass % layout->passes * layout->lanes;
    const std::int64_t outputs = std::min(layout->lanes, layout->owned - first);
    const pim::Grouping grouping(d.k, d.nbw, d.group_size);
    const Addr row_bytes = divCeil(Addr{d.n} * d.wbits, Addr{8});
    const Addr from = first * d.wbits / 8;
    const Addr to = divCeil(Addr(first + outputs) * d.wbits, Addr{8});
    std::vector<Transfer> found;
    const pim::Span groups = pim::groups_of_turn(*layout, grouping, turn);
    const std::int64_t k = grouping.start(groups.first);
    const std::int64_t end = grouping.start(groups.end - 1) + grouping.length(groups.end - 1);
    for (std::int64_t row = k; row < end; ++row)
        add_unfetched(found, pim::weight_area, row * row_bytes + from, to - from);
    if (preparation->scaling.scaled && k % grouping.block_size() == 0) {
        const Addr row = grouping.block_of(groups.first) * Addr{d.n} + first;
        add_unfetched(found, pim::scale_area, 2 * row, 2 * outputs);
        if (preparation->scaling.minimum)
            add_unfetched(found, pim::scale_area, 2 * (grouping.blocks() * Addr{d.n} + row), 2 * outputs);
    }

    Step step;
    step.missing = found.size();
    for (Transfer &read : found) {
        read.step = expanded;
        step.bytes += read.bytes;
    }
    waiting.push_back(step);
    ++expanded;
    return found;
}

Tick Tile::take(Tick now, Tick period)
{
    waiting.pop_front();
    ++taken;
    if (!sequencer)
        return now;
    const std::int64_t cycle = now > started ? divCeil(now - started, period) : 0;
    const std::int64_t load_end =
        std::max(cycle, sequencer->load_start() + sequencer->next_load()->load_cycles);
    last_group = sequencer->loaded(cycle);
    arrivals.push_back(cycle);
    return std::max(now, started + load_end * period);
}

Tick Tile::end(Tick period) const
{
    return sequencer ? started + sequencer->timing().total * period : started;
}

pim::TileTiming Tile::unhindered() const
{
    return pim::TileTimer(preparation->config, preparation->shape, preparation->scaling).time(*profile);
}

pim::Execution Tile::execute(const pim::SliceConfig &config) const
{
    pim::Operands operands{};
    for (std::size_t which = 0; which < operands.size(); ++which)
        operands[which] = areas[which].data.data();
    return pim::execute_operands(descriptor, config, operands);
}

void Tile::serialize(CheckpointOut &cp) const
{
    items_out(cp, "progress", std::vector<Progress>{*this});
    items_out(cp, "waiting", waiting);
    arrayParamOut(cp, "arrivals", arrivals);
    for (std::size_t i = 0; i < area_count; ++i) {
        const std::string name = "area" + std::to_string(i);
        items_out(cp, name + "_pieces", areas[i].pieces);
        arrayParamOut(cp, name + "_data", areas[i].data);
        arrayParamOut(cp, name + "_fetched", fetched[i]);
    }
}

void Tile::unserialize(CheckpointIn &cp)
{
    std::vector<Progress> progress;
    items_in(cp, "progress", progress);
    static_cast<Progress &>(*this) = progress.at(0);
    items_in(cp, "waiting", waiting);
    arrayParamIn(cp, "arrivals", arrivals);
    for (std::size_t i = 0; i < area_count; ++i) {
        const std::string name = "area" + std::to_string(i);
        items_in(cp, name + "_pieces", areas[i].pieces);
        arrayParamIn(cp, name + "_data", areas[i].data);
        arrayParamIn(cp, name + "_fetched", fetched[i]);
    }
}

void Tile::rebuild(const pim::SliceConfig &config)
{
    if (!planned)
        return;
    plan(config);
    if (started == 0)
        return;
    start(started);
    if (sequencer)
        for (const std::int64_t cycle : arrivals)
            sequencer->loaded(cycle);
}

} // namespace gem5::sail
