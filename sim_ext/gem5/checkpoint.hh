/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Containers of plain structures in a checkpoint: their bytes, as they lie in memory. Pointers among them are
 * null: whoever reads them back sets them.
 */
#ifndef SAILSIM_GEM5_CHECKPOINT_HH
#define SAILSIM_GEM5_CHECKPOINT_HH

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "sim/serialize.hh"

namespace gem5::sail
{

template <class Items>
void items_out(CheckpointOut &cp, const std::string &name, const Items &items)
{
    using Item = typename Items::value_type;
    static_assert(std::is_trivially_copyable_v<Item>);
    std::vector<std::uint8_t> bytes(items.size() * sizeof(Item));
    std::uint8_t *to = bytes.data();
    for (Item item : items) {
#if defined(__GNUC__) && __GNUC__ >= 11
        __builtin_clear_padding(&item); /* equal runs write equal files */
#endif
        std::memcpy(to, &item, sizeof item);
        to += sizeof item;
    }
    arrayParamOut(cp, name, bytes);
}

template <class Items>
void items_in(CheckpointIn &cp, const std::string &name, Items &items)
{
    using Item = typename Items::value_type;
    std::vector<std::uint8_t> bytes;
    arrayParamIn(cp, name, bytes);
    fatal_if(bytes.size() % sizeof(Item) != 0, "the checkpoint's %s are of another version", name);
    items.resize(bytes.size() / sizeof(Item));
    const std::uint8_t *from = bytes.data();
    for (Item &item : items) {
        std::memcpy(static_cast<void *>(&item), from, sizeof item);
        from += sizeof item;
    }
}

} // namespace gem5::sail

#endif
