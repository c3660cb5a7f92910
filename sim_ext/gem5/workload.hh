/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gem5's AArch64 Linux emulation with what PIM units need of it:
 *
 * - Protections. Stock gem5 ignores mprotect and the protections that mmap and a program's file name. Here
 * they are kept for the units, which refuse what the program may not do itself; cores check none.
 * - Doorbells of a forked child. Stock gem5 copies every page of the parent's, devices too, into ordinary
 *   memory: the child's LUTMM would be a store that nobody sees.
 * - exit_group of the only program ends the simulation at once. Stock gem5 halts the other threads' cores
 *   first, and TimingSimpleCPU cannot be halted while an access is under way: it would stop the simulator
 *   where a thread is held at a full queue.
 * - Threads without a copy of the program's file, which takes stock gem5 seconds of host time for each.
 * - clone3 is answered with ENOSYS, so that a C library makes its threads by clone, and fadvise64 with 0.
 * Stock gem5 ends the simulation at both.
 *
 * And what a change of the cores' model needs: gem5 gives every thread that a program makes a process of its
 * own, and a core takes over only from one that runs the same process, which was the first.
 */
#ifndef SAILSIM_GEM5_WORKLOAD_HH
#define SAILSIM_GEM5_WORKLOAD_HH

#include <cstdint>
#include <map>

#include "arch/arm/linux/se_workload.hh"
#include "cpu/base.hh"
#include "params/SailEmuLinux.hh"

namespace gem5::sail
{

/* Each allows what those before it do. */
enum class Access { none, read, write };

/* What a program may do with the pages of an address space, by range: a reservation of any size takes no
 * memory. */
class Protections
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

    /* From this address on, up to the next entry; below the first entry everything may be written. */
    std::map<Addr, Access> from;

  private:
    Access at(Addr address) const;
};

/* The number of a process's address space, which its threads share. gem5 gives none twice. */
std::uint64_t space_of(const Process &process);

class EmuLinux : public ArmISA::EmuLinux
{
  public:
    explicit EmuLinux(const SailEmuLinuxParams &params) : ArmISA::EmuLinux(params) {}

    void syscall(ThreadContext *tc) override;

    Protections &protections_of(const Process &process);

    /* Gives `new_cpu` the processes of the threads that `old_cpu` runs; before it takes over. */
    void hand_over(BaseCPU *old_cpu, BaseCPU *new_cpu);

    void serialize(CheckpointOut &cp) const override;
    void unserialize(CheckpointIn &cp) override;

  private:
    /* `child` has a copy of the parent's memory: its devices and protections are those of the parent. */
    void inherit(Process &parent, Process &child);

    std::map<std::uint64_t, Protections> spaces;
};

} // namespace gem5::sail

#endif
