/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gem5's AArch64 Linux emulation with what PIM units need of it:
 *
 * - mprotect marks pages. Stock gem5 ignores the call. Its page tables have a mark for read-only pages that
 *   nothing sets and that its cores do not look at; the units do (address_space.cc), so that a unit refuses
 *   what a program protected from writing.
 * - exit_group of the only program ends the simulation at once. Stock gem5 halts the other threads' cores
 *   first, and TimingSimpleCPU cannot be halted while an access is under way: it would stop the simulator
 *   where a thread is held at a full queue.
 *
 * And what a change of the cores' model needs: gem5 gives every thread that a program makes a process of its
 * own, and a core takes over only from one that runs the same process, which was the first.
 */
#ifndef SAILSIM_GEM5_WORKLOAD_HH
#define SAILSIM_GEM5_WORKLOAD_HH

#include "arch/arm/linux/se_workload.hh"
#include "cpu/base.hh"
#include "params/SailEmuLinux.hh"

namespace gem5::sail
{

class EmuLinux : public ArmISA::EmuLinux
{
  public:
    explicit EmuLinux(const SailEmuLinuxParams &params) : ArmISA::EmuLinux(params) {}

    void syscall(ThreadContext *tc) override;

    /* Gives `new_cpu` the processes of the threads that `old_cpu` runs; before it takes over. */
    void hand_over(BaseCPU *old_cpu, BaseCPU *new_cpu);
};

} // namespace gem5::sail

#endif
