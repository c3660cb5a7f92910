/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/protections.hh"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "base/intmath.hh"
#include "base/loader/memory_image.hh"
#include "base/loader/object_file.hh"
#include "gelf.h"
#include "mem/page_table.hh"
#include "sim/process.hh"

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

} // namespace

Access access_of(int prot)
{
    if (prot & PROT_WRITE)
        return Access::write;
    return prot & (PROT_READ | PROT_EXEC) ? Access::read : Access::none;
}

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

void Protections::serialize(CheckpointOut &cp) const
{
    std::vector<Addr> addresses;
    std::vector<int> accesses;
    for (const auto &[address, access] : from) {
        addresses.push_back(address);
        accesses.push_back(static_cast<int>(access));
    }
    arrayParamOut(cp, "addresses", addresses);
    arrayParamOut(cp, "accesses", accesses);
}

void Protections::unserialize(CheckpointIn &cp)
{
    std::vector<Addr> addresses;
    std::vector<int> accesses;
    arrayParamIn(cp, "addresses", addresses);
    arrayParamIn(cp, "accesses", accesses);
    from.clear();
    for (std::size_t i = 0; i < addresses.size(); ++i)
        from.emplace(addresses[i], static_cast<Access>(accesses[i]));
}

} // namespace gem5::sail
