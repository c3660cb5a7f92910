/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/workload.hh"

#include <cerrno>

#include "arch/arm/linux/process.hh"
#include "arch/arm/regs/int.hh"
#include "base/intmath.hh"
#include "cpu/thread_context.hh"
#include "mem/page_table.hh"

namespace gem5::sail
{

namespace
{

constexpr int mprotect_number = 226;
constexpr RegVal may_write = 2; /* PROT_WRITE */

/* What mprotect returns. A page that may not be read either counts as read-only. */
int protect(Process *process, Addr start, Addr bytes, bool writable)
{
    EmulationPageTable &table = *process->pTable;
    if (table.pageOffset(start) != 0)
        return -EINVAL;
    if (start + bytes < start)
        return -ENOMEM;
    const Addr end = roundUp(start + bytes, table.pageSize());
    for (Addr page = start; page < end; page += table.pageSize()) {
        if (!table.lookup(page) && !process->fixupFault(page)) /* gives memory to an untouched page */
            return -ENOMEM;
        const EmulationPageTable::Entry entry = *table.lookup(page);
        constexpr std::uint64_t mark = EmulationPageTable::ReadOnly;
        const std::uint64_t flags = writable ? entry.flags & ~mark : entry.flags | mark;
        table.map(page, entry.paddr, table.pageSize(), flags | EmulationPageTable::Clobber);
    }
    return 0;
}

} // namespace

void EmuLinux::syscall(ThreadContext *tc)
{
    auto *process = dynamic_cast<ArmLinuxProcess64 *>(tc->getProcessPtr());
    const bool protects = process && tc->getReg(ArmISA::int_reg::X8) == mprotect_number;
    const Addr start = tc->getReg(ArmISA::int_reg::X0);
    const Addr bytes = tc->getReg(ArmISA::int_reg::X1);
    const bool writable = (tc->getReg(ArmISA::int_reg::X2) & may_write) != 0;
    ArmISA::EmuLinux::syscall(tc);
    if (protects)
        tc->setReg(ArmISA::int_reg::X0, static_cast<RegVal>(protect(process, start, bytes, writable)));
}

} // namespace gem5::sail
