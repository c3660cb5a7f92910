/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/tile_passes.hh"

#include <algorithm>

namespace sailsim::pim
{

namespace
{

PatternProfile without_patterns(const SliceConfig &config, const TileShape &shape)
{
    config.validate();
    shape.validate();
    const auto groups = static_cast<std::size_t>(Grouping(shape.k, shape.nbw, shape.group_size).groups());
    const std::vector<std::int32_t> none(groups);
    return {none, none, none};
}

} // namespace

TilePasses::TilePasses(const SliceConfig &config, const TileShape &shape, Scaling scaling)
    : all_rows(shape.batch), buffered(config.double_buffer), no_patterns(without_patterns(config, shape)),
      sequencer(config, shape, no_patterns, scaling)
{
    const std::int64_t last = plan().batch_chunks - 1, others = plan().blocks - 1;
    if (last > 0)
        of_chunk = runs_of(0);
    of_last_chunk = runs_of(last);
    std::vector<std::int64_t> times(found.size());
    for (const PassRun &run : of_chunk)
        times[run.kind] += last * run.times;
    for (const PassRun &run : of_last_chunk)
        times[run.kind] += run.times;
    for (std::size_t kind = 0; kind < found.size(); ++kind) {
        if (others > 0)
            found[kind].block = account_for(firsts[kind], 0, others * times[kind]);
        found[kind].last_block = account_for(firsts[kind], others, times[kind]);
    }
    account = sequencer.timing();
}

std::vector<PassRun> TilePasses::runs_of(std::int64_t chunk)
{
    std::vector<PassRun> runs;
    const std::int64_t before = chunk * plan().passes;
    const auto add = [&](std::int64_t pass, std::int64_t times) {
        const std::size_t kind = kind_of(rows(chunk), pass);
        if (firsts.size() < found.size())
            firsts.push_back(before + pass);
        if (!runs.empty() && runs.back().kind == kind)
            runs.back().times += times;
        else
            runs.push_back({kind, times});
    };
    add(0, 1);
    if (plan().passes > 2)
        add(1, plan().passes - 2);
    if (plan().passes > 1)
        add(plan().passes - 1, 1);
    return runs;
}

/* The kind of a pass of a chunk with these rows. */
std::size_t TilePasses::kind_of(const BatchRows &rows, std::int64_t pass)
{
    PassKind kind;
    kind.rows = rows.end - rows.first;
    kind.outputs = std::min(plan().lanes, plan().owned - pass * plan().lanes);
    kind.again = pass > 0 && !plan().keeps_activations;
    const auto known = std::find_if(found.begin(), found.end(), [&kind](const PassKind &other) {
        return other.rows == kind.rows && other.outputs == kind.outputs && other.again == kind.again;
    });
    if (known != found.end())
        return static_cast<std::size_t>(known - found.begin());
    found.push_back(kind);
    return found.size() - 1;
}

/* The turns of a block, which are accounted for so many times. */
std::vector<GroupStep> TilePasses::account_for(std::int64_t pass, std::int64_t block, std::int64_t times)
{
    sequencer.go_to(pass, block);
    const TileTiming began = sequencer.timing();
    const std::int64_t behind = (block + 1) * sequencer.groups_per_block(); /* the group behind the block */
    std::vector<GroupStep> steps;
    for (const GroupStep *step = sequencer.next_load(); step && step->pass == pass && step->group < behind;
         step = sequencer.next_load()) {
        steps.push_back(*step);
        sequencer.loaded(0); /* whenever: what it costs does not depend on that */
    }
    sequencer.repeat_since(began, times - 1);
    return steps;
}

} // namespace sailsim::pim
