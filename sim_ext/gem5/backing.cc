/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/backing.hh"

#include <algorithm>
#include <cstring>

#include "mem/physical.hh"
#include "mem/port_proxy.hh"
#include "sim/system.hh"

namespace gem5::sail
{

void preload(System &system, Addr address, const void *from, std::uint64_t bytes)
{
    const auto *source = static_cast<const std::uint8_t *>(from);
    const auto stores = system.getPhysMem().getBackingStore();
    while (bytes > 0) {
        const auto store = std::find_if(stores.begin(), stores.end(), [address](const auto &each) {
            return each.inAddrMap && each.pmem && each.range.contains(address);
        });
        if (store == stores.end()) { /* a memory that keeps no bytes here */
            system.physProxy.writeBlob(address, source, bytes);
            return;
        }
        const std::uint64_t part = std::min<std::uint64_t>(bytes, store->range.end() - address);
        std::memcpy(store->pmem + (address - store->range.start()), source, part);
        address += part;
        source += part;
        bytes -= part;
    }
}

} // namespace gem5::sail
