/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a program may do with the pages of an address space. gem5's syscall emulation keeps no protections and
 * its cores check none. They are kept here by range, so that a reservation of any size takes no memory.
 */
#ifndef SAILSIM_GEM5_PROTECTIONS_HH
#define SAILSIM_GEM5_PROTECTIONS_HH

#include <map>

#include "base/types.hh"
#include "sim/serialize.hh"

namespace gem5
{
class Process;

namespace sail
{

/* Each allows what those before it do. */
enum class Access { none, read, write };

/* The access that PROT_READ, PROT_WRITE and PROT_EXEC give on AArch64. */
Access access_of(int prot);

class Protections : public Serializable
{
  public:
    /* Everything may be written. */
    Protections() = default;
    /* As a program begins: segments of its file, and of its interpreter's, that are not writable are
     * read-only. */
    explicit Protections(const Process &process);

    /* Of whole pages: [first, end). */
    void set(Addr first, Addr end, Access access);

    /* The access that all bytes of [first, end) have. */
    Access of(Addr first, Addr end) const;

    void serialize(CheckpointOut &cp) const override;
    void unserialize(CheckpointIn &cp) override;

  private:
    Access at(Addr address) const;

    /* From this address on, up to the next entry; below the first entry everything may be written. */
    std::map<Addr, Access> from;
};

} // namespace sail
} // namespace gem5

#endif
