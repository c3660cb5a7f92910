/* SPDX-License-Identifier: BSD-3-Clause */
// The memory of the fuzz program: guarded regions, and a copy of what they must hold.
#ifndef SAILSIM_KERNELS_LUTMM_ARENA_HH
#define SAILSIM_KERNELS_LUTMM_ARENA_HH

#include "lutmm/guarded.hh"
#include "lutmm/verdict.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sailsim::kernels
{

class Random;

class Arena
{
  public:
    enum Place { weights, activations, output, scales, completion, codebook, read_only, places };

    // Every region full of random bytes. `units_protect`: see Guarded::make_read_only.
    Arena(Random &random, bool units_protect);

    unsigned char *bytes(Place place) const { return regions_[place]->bytes(); }
    std::uint64_t first(Place place) const { return extents_[place].first; }
    std::uint64_t end(Place place) const { return extents_[place].end; }
    const std::vector<Extent> &extents() const { return extents_; }
    bool read_only_is_enforced() const { return !extents_[read_only].writable; }

    // Where `size` bytes lie so that the region ends as soon after them as alignment to 64 allows.
    std::uint64_t at_end(Place place, std::size_t size) const;

    // Takes what the regions hold now as what they must hold.
    void remember();
    // Takes these bytes of the regions as what they must hold: a unit was right to write them.
    void accept(std::uint64_t address, std::size_t size);
    // How many bytes of all regions are not what they must be.
    std::size_t differences() const;

  private:
    std::vector<std::unique_ptr<Guarded>> regions_;
    std::vector<Extent> extents_;
    std::vector<std::vector<unsigned char>> copies_;
};

} // namespace sailsim::kernels

#endif
