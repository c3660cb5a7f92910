/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/address_space.hh"

#include <algorithm>

#include "base/logging.hh"
#include "cpu/thread_context.hh"
#include "gem5/workload.hh"
#include "sim/process.hh"
#include "sim/system.hh"

namespace gem5::sail
{

namespace
{

constexpr Addr check_step = 4096; /* memory ranges start and end on pages */

/* Whether the program itself may do so, by its operating system's protections. */
bool allowed(Process *process, Addr address, Addr bytes, BaseMMU::Mode mode)
{
    auto *workload = process ? dynamic_cast<EmuLinux *>(process->seWorkload) : nullptr;
    const Access wanted = mode == BaseMMU::Write ? Access::write : Access::read;
    return !workload || workload->protections_of(*process).of(address, address + bytes) >= wanted;
}

} // namespace

std::uint64_t space_in(const System &system, ContextID context)
{
    if (context == InvalidContextID)
        return 0;
    Process *process = system.threads[context]->getProcessPtr();
    return process ? space_of(*process) : 0;
}

namespace
{

/* A thread in the address space of the one that rang, which may have ended: itself, or another. */
ThreadContext *thread_in_space(System &system, const Ring &ring)
{
    if (space_in(system, ring.context) == ring.space)
        return system.threads[ring.context];
    for (ThreadContext *thread : system.threads)
        if (space_in(system, thread->contextId()) == ring.space)
            return thread;
    return nullptr;
}

std::optional<std::vector<Piece>> physical_pieces(const System &system, Addr address, Addr bytes)
{
    for (Addr at = address; at - address < bytes; at = (at / check_step + 1) * check_step)
        if (!system.isMemAddr(at))
            return std::nullopt;
    return std::vector<Piece>{{0, address, bytes}};
}

} // namespace

std::optional<std::vector<Piece>> pieces_of(System &system, const Ring &ring, Addr address, Addr bytes,
                                            BaseMMU::Mode mode)
{
    if (address + bytes < address)
        return std::nullopt;
    if (ring.context == InvalidContextID)
        return physical_pieces(system, address, bytes);

    ThreadContext *thread = thread_in_space(system, ring);
    if (!thread)
        return std::nullopt;
    Process *process = thread->getProcessPtr();
    if (!allowed(process, address, bytes, mode))
        return std::nullopt;
    std::vector<Piece> found;
    const TranslationGenPtr ranges =
        thread->getMMUPtr()->translateFunctional(address, bytes, thread, mode, 0);
    for (auto range = ranges->begin(); range != ranges->end(); ++range) {
        if (range->fault != NoFault) {
            /* A page of the program's that nothing has touched: gem5 gives it memory on the first access. */
            if (process && process->fixupFault(range->vaddr))
                continue;
            return std::nullopt;
        }
        if (!system.isMemAddr(range->paddr))
            return std::nullopt;
        found.push_back({range->vaddr - address, range->paddr, range->size});
    }
    return found;
}

} // namespace gem5::sail
