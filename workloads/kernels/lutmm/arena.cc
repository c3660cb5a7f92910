/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/arena.hh"

#include "common/random.hh"
#include "lutmm.h"

#include <cstring>

namespace sailsim::kernels
{

Arena::Arena(Random &random, bool units_protect)
{
    for (unsigned place = 0; place < places; ++place) {
        const std::size_t pages = place == scales ? 2 : 1;
        regions_.push_back(std::make_unique<Guarded>(pages * kPageBytes));
        Guarded &region = *regions_.back();
        random.fill(region.bytes(), region.size());
        const bool writable = place != read_only || !region.make_read_only(units_protect);
        extents_.push_back({reinterpret_cast<std::uintptr_t>(region.bytes()),
                            reinterpret_cast<std::uintptr_t>(region.end()), writable});
        copies_.emplace_back(region.bytes(), region.end());
    }
}

std::uint64_t Arena::at_end(Place place, std::size_t size) const
{
    const std::size_t whole_lines = (size + LUTMM_BUFFER_ALIGN - 1) / LUTMM_BUFFER_ALIGN * LUTMM_BUFFER_ALIGN;
    return end(place) - whole_lines;
}

void Arena::remember()
{
    for (unsigned place = 0; place < places; ++place)
        std::memcpy(copies_[place].data(), regions_[place]->bytes(), regions_[place]->size());
}

void Arena::accept(std::uint64_t address, std::size_t size)
{
    for (unsigned place = 0; place < places; ++place)
        if (address >= extents_[place].first && address < extents_[place].end) {
            const std::size_t offset = address - extents_[place].first;
            std::memcpy(copies_[place].data() + offset, regions_[place]->bytes() + offset, size);
        }
}

std::size_t Arena::differences() const
{
    std::size_t count = 0;
    for (unsigned place = 0; place < places; ++place) {
        const unsigned char *now = regions_[place]->bytes();
        if (std::memcmp(copies_[place].data(), now, copies_[place].size()) == 0)
            continue;
        for (std::size_t i = 0; i < copies_[place].size(); ++i)
            count += copies_[place][i] != now[i];
    }
    return count;
}

} // namespace sailsim::kernels
