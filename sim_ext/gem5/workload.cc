/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/workload.hh"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>
#include <vector>

#include "arch/arm/linux/process.hh"
#include "arch/arm/regs/int.hh"
#include "base/intmath.hh"
#include "base/loader/memory_image.hh"
#include "base/loader/object_file.hh"
#include "cpu/thread_context.hh"
#include "gelf.h"
#include "gem5/checkpoint.hh"
#include "mem/page_table.hh"
#include "sim/mem_state.hh"
#include "sim/process.hh"
#include "sim/sim_exit.hh"
#include "sim/system.hh"

namespace gem5::sail
{

namespace
{

/* gem5's image of a program does not say which segments are writable: the file's own headers do. */
void protect_segments(Protections &protections, const loader::ObjectFile &object, Addr page)
{
    const loader::MemoryImage image = object.buildImage();
    if (image.segments().empty() || !image.segments().front().ifd)
        return;
    const loader::ImageFileData &file = *image.segments().front().ifd;
    Elf *elf = elf_memory(reinterpret_cast<char *>(const_cast<std::uint8_t *>(file.data())), file.len());
    GElf_Ehdr header;
    if (elf && gelf_getehdr(elf, &header)) {
        for (int i = 0; i < header.e_phnum; ++i) {
            GElf_Phdr segment;
            if (!gelf_getphdr(elf, i, &segment) || segment.p_type != PT_LOAD)
                continue;
            const Addr first = segment.p_paddr + object.bias(); /* where gem5 loads it */
            protections.set(roundDown(first, page), roundUp(first + segment.p_memsz, page),
                            segment.p_flags & PF_W ? Access::write : Access::read);
        }
    }
    elf_end(elf);
}

/* The access that PROT_READ, PROT_WRITE and PROT_EXEC give on AArch64. */
Access access_of(int prot)
{
    if (prot & PROT_WRITE)
        return Access::write;
    return prot & (PROT_READ | PROT_EXEC) ? Access::read : Access::none;
}

/* What a checkpoint says of an address space from an address on. */
struct Protected {
    std::uint64_t space;
    Addr address;
    Access access;
};

enum Number : RegVal {
    exit_group_number = 94,
    brk_number = 214,
    munmap_number = 215,
    mremap_number = 216,
    clone_number = 220,
    mmap_number = 222,
    fadvise64_number = 223,
    mprotect_number = 226,
    clone3_number = 435,
};

bool failed(RegVal result)
{
    constexpr RegVal most_errors = 4095;
    return result >= -most_errors;
}

/* Whether the program has the page, be it that nothing has touched it yet. */
bool has_page(Process &process, Addr page)
{
    return process.pTable->lookup(page) || !process.memState->isUnmapped(page, process.pTable->pageSize());
}

/* What mprotect returns. */
int protect(Process &process, Protections &protections, Addr start, Addr bytes, Access access)
{
    EmulationPageTable &table = *process.pTable;
    if (table.pageOffset(start) != 0)
        return -EINVAL;
    const Addr end = roundUp(start + bytes, table.pageSize());
    if (end < start)
        return -ENOMEM;
    Addr page = start;
    while (page < end && has_page(process, page))
        page += table.pageSize();
    protections.set(start, page, access);
    return page < end ? -ENOMEM : 0;
}

/* What a call that moves or resizes a mapping leaves at its two places. */
void carry_over(Protections &protections, Addr from, Addr old_bytes, Addr to, Addr new_bytes)
{
    const Access access = protections.of(from, from + 1);
    protections.set(from, from + old_bytes, Access::write);
    protections.set(to, to + new_bytes, access);
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

/* A thread is a process to gem5, for which it loads the program's file anew, asking every cache, into pages
 * that the thread then gives up for its program's. Here it gets these pages, as later pages lie behind them,
 * and nothing is written there. */
class LinuxProcess : public ArmLinuxProcess64
{
  public:
    using ArmLinuxProcess64::ArmLinuxProcess64;

    void initState() override
    {
        if (useForClone) {
            take_pages(image);
            take_pages(interpImage);
        }
        ArmLinuxProcess64::initState();
    }

  private:
    void take_pages(loader::MemoryImage &of)
    {
        const Addr page_bytes = pTable->pageSize();
        for (const auto &segment : of.segments()) {
            const Addr end = segment.base + segment.size;
            for (Addr page = roundDown(segment.base, page_bytes); page < end; page += page_bytes) {
                if (!pTable->lookup(page))
                    allocateMem(page, static_cast<std::int64_t>(page_bytes));
            }
        }
        of = {};
    }
};

class LinuxLoader : public Process::Loader
{
  public:
    Process *load(const ProcessParams &params, loader::ObjectFile *object) override
    {
        const bool ours = object->getArch() == loader::Arm64 && object->getOpSys() == loader::Linux;
        return ours ? new LinuxProcess(params, object, loader::Arm64) : nullptr;
    }
};

/* gem5 asks loaders in the order of their making: this one comes before its own. */
[[gnu::init_priority(1000)]] LinuxLoader linux_loader;

} // namespace

Protections::Protections(const Process &process)
{
    const Addr page = process.pTable->pageSize();
    protect_segments(*this, *process.objFile, page);
    if (const loader::ObjectFile *interpreter = process.objFile->getInterpreter())
        protect_segments(*this, *interpreter, page);
}

Access Protections::at(Addr address) const
{
    const auto next = from.upper_bound(address);
    return next == from.begin() ? Access::write : std::prev(next)->second;
}

void Protections::set(Addr first, Addr end, Access access)
{
    if (first >= end)
        return;
    const Access behind = at(end);
    from.erase(from.lower_bound(first), from.upper_bound(end));
    if (at(first) != access)
        from.emplace(first, access);
    if (behind != access)
        from.emplace(end, behind);
}

Access Protections::of(Addr first, Addr end) const
{
    Access least = at(first);
    for (auto next = from.upper_bound(first); next != from.end() && next->first < end; ++next)
        least = std::min(least, next->second);
    return least;
}

std::uint64_t space_of(const Process &process)
{
    return process.pTable->pid();
}

Protections &EmuLinux::protections_of(const Process &process)
{
    const auto found = spaces.find(space_of(process));
    return found != spaces.end() ? found->second
                                 : spaces.emplace(space_of(process), Protections(process)).first->second;
}

void EmuLinux::inherit(Process &parent, Process &child)
{
    spaces[space_of(child)] = protections_of(parent);
    std::vector<std::pair<Addr, Addr>> pages;
    parent.pTable->getMappings(&pages);
    for (const auto &[address, physical] : pages) {
        const std::uint64_t flags = parent.pTable->lookup(address)->flags;
        if (flags & EmulationPageTable::Uncacheable)
            child.pTable->map(address, physical, child.pTable->pageSize(),
                              flags | EmulationPageTable::Clobber);
    }
}

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
    if (number == clone3_number || number == fadvise64_number) {
        tc->setReg(ArmISA::int_reg::X0, number == clone3_number ? static_cast<RegVal>(-ENOSYS) : 0);
        return;
    }
    const Addr old_break = process->memState->getBrkPoint();
    ArmISA::EmuLinux::syscall(tc);

    if (tc->getProcessPtr() != process) { /* execve: another program in a new address space */
        spaces.erase(space_of(*tc->getProcessPtr()));
        return;
    }
    const RegVal result = tc->getReg(ArmISA::int_reg::X0);
    if (failed(result))
        return;
    const auto pages = [process](Addr bytes) { return roundUp(bytes, process->pTable->pageSize()); };
    Protections &protections = protections_of(*process);
    switch (number) {
    case mmap_number:
        protections.set(result, result + pages(second), access_of(static_cast<int>(third)));
        break;
    case munmap_number:
        protections.set(first, first + pages(second), Access::write);
        break;
    case mremap_number:
        carry_over(protections, first, pages(second), result, pages(third));
        break;
    case brk_number:
        protections.set(pages(std::min(old_break, result)), pages(std::max(old_break, result)),
                        Access::write);
        break;
    case mprotect_number: {
        const int status = protect(*process, protections, first, second, access_of(static_cast<int>(third)));
        tc->setReg(ArmISA::int_reg::X0, static_cast<RegVal>(status));
        break;
    }
    case clone_number:
        for (ThreadContext *thread : tc->getSystemPtr()->threads) {
            Process *child = thread->getProcessPtr();
            if (child && child->pid() == result && child->pTable != process->pTable)
                inherit(*process, *child);
        }
        break;
    default:
        break;
    }
}

void EmuLinux::hand_over(BaseCPU *old_cpu, BaseCPU *new_cpu)
{
    for (unsigned thread = 0; thread < old_cpu->numContexts(); ++thread)
        new_cpu->getContext(thread)->setProcessPtr(old_cpu->getContext(thread)->getProcessPtr());
}

void EmuLinux::serialize(CheckpointOut &cp) const
{
    ArmISA::EmuLinux::serialize(cp);
    std::vector<Protected> entries;
    for (const auto &[space, protections] : spaces) {
        entries.push_back({space, 0, Access::write}); /* a space without any other is one too */
        for (const auto &[address, access] : protections.from)
            entries.push_back({space, address, access});
    }
    const ScopedCheckpointSection section(cp, "protections");
    items_out(cp, "spaces", entries);
}

void EmuLinux::unserialize(CheckpointIn &cp)
{
    ArmISA::EmuLinux::unserialize(cp);
    const ScopedCheckpointSection section(cp, "protections");
    if (!cp.sectionExists(currentSection()))
        return; /* of stock gem5's emulation, which keeps none */
    std::vector<Protected> entries;
    items_in(cp, "spaces", entries);
    for (const auto &[space, address, access] : entries)
        spaces[space].from[address] = access;
}

} // namespace gem5::sail
