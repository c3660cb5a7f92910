/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/workload.hh"

#include <cerrno>

#include "arch/arm/linux/process.hh"
#include "arch/arm/regs/int.hh"
#include "base/intmath.hh"
#include "cpu/thread_context.hh"
#include "mem/page_table.hh"
#include "sim/sim_exit.hh"
#include "sim/system.hh"

namespace gem5::sail
{

namespace
{

constexpr RegVal exit_group_number = 94;
constexpr RegVal mprotect_number = 226;
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

/* Whether other threads of the caller's program run, and no other program does. */
bool ends_others_only_of_its_own(ThreadContext *caller)
{
    const auto group = caller->getProcessPtr()->tgid();
    bool others = false;
    for (ThreadContext *thread : caller->getSystemPtr()->threads) {
        Process *process = thread->getProcessPtr();
        const bool runs =
            thread->status() == ThreadContext::Active || thread->status() == ThreadContext::Suspended;
        if (thread == caller || !process || !runs)
            continue;
        if (process->tgid() != group)
            return false;
        others = true;
    }
    return others;
}

} // namespace

void EmuLinux::syscall(ThreadContext *tc)
{
    auto *process = dynamic_cast<ArmLinuxProcess64 *>(tc->getProcessPtr());
    if (!process) {
        ArmISA::EmuLinux::syscall(tc);
        return;
    }
    const RegVal number = tc->getReg(ArmISA::int_reg::X8);
    const Addr first = tc->getReg(ArmISA::int_reg::X0);
    const Addr second = tc->getReg(ArmISA::int_reg::X1);
    const RegVal third = tc->getReg(ArmISA::int_reg::X2);
    if (number == exit_group_number && ends_others_only_of_its_own(tc)) {
        exitSimLoop("exiting with last active thread context", static_cast<int>(first & 0xff));
        return;
    }
    ArmISA::EmuLinux::syscall(tc);
    if (number == mprotect_number) {
        const int result = protect(process, first, second, (third & may_write) != 0);
        tc->setReg(ArmISA::int_reg::X0, static_cast<RegVal>(result));
    }
}

void EmuLinux::hand_over(BaseCPU *old_cpu, BaseCPU *new_cpu)
{
    for (unsigned thread = 0; thread < old_cpu->numContexts(); ++thread)
        new_cpu->getContext(thread)->setProcessPtr(old_cpu->getContext(thread)->getProcessPtr());
}

} // namespace gem5::sail
