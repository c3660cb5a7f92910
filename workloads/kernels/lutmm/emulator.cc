/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/emulator.hh"

#include "common/fail.hh"
#include "common/team.hh"
#include "emulated_unit.hh" // made from the system file sail-n1
#include "lutmm.h"
#include "lutmm/probe.hh"
#include "pim/descriptor.hh"

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <exception>
#include <ucontext.h>

namespace sailsim::kernels
{

namespace
{

void *pointer(std::uint64_t address)
{
    return reinterpret_cast<void *>(static_cast<std::uintptr_t>(address));
}

// The memory of this process, as far as it may be touched, for the descriptor whose record is at
// `completion`.
class OwnMemory : public pim::Memory
{
  public:
    explicit OwnMemory(std::uint64_t completion) : completion_(completion) {}

    bool readable(std::uint64_t address, std::uint64_t bytes) const override
    {
        return can_read(address, bytes);
    }
    bool writable(std::uint64_t address, std::uint64_t bytes) const override
    {
        return can_write(address, bytes);
    }
    void read(std::uint64_t address, void *to, std::uint64_t bytes) const override
    {
        std::memcpy(to, pointer(address), bytes);
    }
    void write(std::uint64_t address, const void *from, std::uint64_t bytes) override
    {
        if (address == completion_ && address % sizeof(std::uint32_t) == 0)
            complete(static_cast<unsigned char *>(pointer(address)), from);
        else
            std::memcpy(pointer(address), from, bytes);
    }

  private:
    // The status last: who reads it with acquire sees the results and the rest of the record.
    static void complete(unsigned char *record, const void *from)
    {
        static_assert(offsetof(lutmm_completion, status) == 0);
        std::uint32_t status;
        std::memcpy(&status, from, sizeof status);
        std::memcpy(record + sizeof status, static_cast<const unsigned char *>(from) + sizeof status,
                    sizeof(lutmm_completion) - sizeof status);
        __atomic_store_n(reinterpret_cast<std::uint32_t *>(record), status, __ATOMIC_RELEASE);
    }

    std::uint64_t completion_;
};

const pim::SliceConfig *config_of_units = nullptr;
std::atomic<std::uint64_t> executed{0};

// One descriptor at a time: the core allocates, and the threads of a Team must not allocate at the same time.
std::atomic_flag busy = ATOMIC_FLAG_INIT;

// A descriptor that cannot be read has no record to answer in: the unit drops it.
void execute(unsigned unit, std::uint64_t address)
{
    if (address % LUTMM_BUFFER_ALIGN != 0 || !can_read(address, sizeof(lutmm_descriptor)))
        return;
    lutmm_descriptor descriptor;
    std::memcpy(&descriptor, pointer(address), sizeof descriptor);
    OwnMemory memory(descriptor.completion);
    Backoff backoff;
    while (busy.test_and_set(std::memory_order_acquire))
        backoff.pause();
    try {
        if (unit < emulated_units)
            pim::execute_descriptor(descriptor, *config_of_units, memory);
        else
            pim::refuse_unit(descriptor, unit, memory);
    } catch (const std::exception &error) {
        fail("the emulated unit cannot execute a descriptor: %s", error.what());
    }
    busy.clear(std::memory_order_release);
}

void on_illegal(int, siginfo_t *, void *context)
{
    auto *machine = &static_cast<ucontext_t *>(context)->uc_mcontext;
    std::uint32_t word;
    std::memcpy(&word, pointer(machine->pc), sizeof word);
    if ((word & LUTMM_INSN_MASK) != LUTMM_INSN_BASE) {
        std::signal(SIGILL, SIG_DFL); // not ours: returning repeats it and ends the program
        return;
    }
    const unsigned source = (word >> 5) & 31, unit = (word >> 10) & (LUTMM_UNITS_MAX - 1);
    constexpr unsigned zero_register = 31;
    execute(unit, source == zero_register ? 0 : machine->regs[source]);
    executed.fetch_add(1, std::memory_order_relaxed);
    machine->pc += sizeof word;
}

} // namespace

void install_emulator()
{
    try {
        static const pim::SliceConfig config = emulated_unit();
        config_of_units = &config;
    } catch (const std::exception &error) {
        fail("the emulated unit cannot be made: %s", error.what());
    }
    install_probes();
    struct sigaction action{};
    action.sa_sigaction = on_illegal;
    action.sa_flags = SA_SIGINFO;
    if (sigaction(SIGILL, &action, nullptr) != 0)
        fail("cannot install the handler of signal %d", SIGILL);
}

std::uint64_t emulated_descriptors()
{
    return executed.load(std::memory_order_relaxed);
}

} // namespace sailsim::kernels
