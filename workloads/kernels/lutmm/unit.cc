/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/unit.hh"

#include "common/measure.hh"
#include "common/program.hh"
#include "common/team.hh"
#include "emulated_unit.hh" // made from the system file sail-n1
#include "pim/descriptor.hh"

#include <csetjmp>
#include <csignal>
#include <exception>
#include <ucontext.h>

namespace sailsim::kernels
{

namespace
{

// Held while a descriptor is executed: only one thread at a time may touch memory to see whether it can be.
std::atomic_flag busy = ATOMIC_FLAG_INIT;

volatile unsigned char *volatile touched = nullptr; // the byte that is being touched
sigjmp_buf behind_touch;                            // where to go on if that faults

void on_fault(int signal, siginfo_t *fault, void *)
{
    if (touched != nullptr && fault->si_addr == touched)
        siglongjmp(behind_touch, 1);
    std::signal(signal, SIG_DFL); // a fault of the program itself: returning repeats it
}

// Whether a byte can be read, or with `write` written, found out by trying; it keeps its value, also where
// another thread stores to it meanwhile.
bool touch(unsigned char *byte, bool write)
{
    touched = byte;
    const bool faulted = sigsetjmp(behind_touch, 0) != 0;
    if (!faulted && write)
        __atomic_fetch_add(touched, 0, __ATOMIC_RELAXED);
    else if (!faulted)
        static_cast<void>(*touched);
    touched = nullptr;
    return !faulted;
}

// The memory of this process, as far as it may be touched, for the descriptor whose record is at
// `completion`.
class OwnMemory : public pim::Memory
{
  public:
    explicit OwnMemory(std::uint64_t completion) : completion_(completion) {}

    bool readable(std::uint64_t address, std::uint64_t bytes) const override
    {
        return can_touch(address, bytes);
    }
    bool writable(std::uint64_t address, std::uint64_t bytes) const override
    {
        return can_touch(address, bytes, true);
    }
    void read(std::uint64_t address, void *to, std::uint64_t bytes) const override
    {
        std::memcpy(to, at_address(address), bytes);
    }
    // Of the record the status last: who reads it with acquire sees the results and the rest of the record.
    void write(std::uint64_t address, const void *from, std::uint64_t bytes) override
    {
        static_assert(offsetof(lutmm_completion, status) == 0);
        std::uint32_t status;
        if (address != completion_ || address % sizeof status != 0) {
            std::memcpy(at_address(address), from, bytes);
            return;
        }
        std::memcpy(&status, from, sizeof status);
        std::memcpy(at_address(address) + sizeof status,
                    static_cast<const unsigned char *>(from) + sizeof status, bytes - sizeof status);
        __atomic_store_n(at_address<std::uint32_t>(address), status, __ATOMIC_RELEASE);
    }

  private:
    std::uint64_t completion_;
};

const pim::SliceConfig *config_of_units = nullptr;
std::atomic<std::uint64_t> executed{0};

// A descriptor that cannot be read has no record to answer in: the unit drops it.
void execute(unsigned unit, std::uint64_t address)
{
    if (address % LUTMM_BUFFER_ALIGN != 0 || !can_touch(address, sizeof(lutmm_descriptor)))
        return;
    lutmm_descriptor descriptor;
    std::memcpy(&descriptor, at_address(address), sizeof descriptor);
    OwnMemory memory(descriptor.completion);
    try {
        if (unit < emulated_units)
            pim::execute_descriptor(descriptor, *config_of_units, memory);
        else
            pim::refuse_unit(descriptor, unit, memory);
    } catch (const std::exception &error) {
        fail("the emulated unit cannot execute a descriptor: %s", error.what());
    }
}

void on_illegal(int, siginfo_t *, void *context)
{
    auto *machine = &static_cast<ucontext_t *>(context)->uc_mcontext;
    std::uint32_t word;
    std::memcpy(&word, at_address(machine->pc), sizeof word);
    if ((word & LUTMM_INSN_MASK) != LUTMM_INSN_BASE) {
        std::signal(SIGILL, SIG_DFL); // not ours: returning repeats it and ends the program
        return;
    }
    const unsigned source = (word >> 5) & 31, unit = (word >> 10) & (LUTMM_UNITS_MAX - 1);
    constexpr unsigned zero_register = 31;
    Backoff backoff;
    while (busy.test_and_set(std::memory_order_acquire))
        backoff.pause();
    execute(unit, source == zero_register ? 0 : machine->regs[source]);
    busy.clear(std::memory_order_release);
    executed.fetch_add(1, std::memory_order_relaxed);
    machine->pc += sizeof word;
}

void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action{};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    if (sigaction(signal, &action, nullptr) != 0)
        fail("cannot install the handler of signal %d", signal);
}

template <unsigned Unit>
void submit_to(const lutmm_descriptor *descriptor)
{
    register const lutmm_descriptor *address __asm__("x9") = descriptor;
    __asm__ volatile(".inst %c1" : : "r"(address), "i"(LUTMM_INSN(Unit, 9)) : "memory");
}

template <unsigned... Unit>
void submit(unsigned unit, const lutmm_descriptor *descriptor, std::integer_sequence<unsigned, Unit...>)
{
    static constexpr void (*each[])(const lutmm_descriptor *) = {submit_to<Unit>...};
    each[unit](descriptor);
}

} // namespace

bool can_touch(std::uint64_t address, std::uint64_t bytes, bool write)
{
    if (bytes == 0)
        return true;
    const std::uint64_t last = address + (bytes - 1);
    if (last < address)
        return false;
    for (std::uint64_t page = address;; page = (page / kPageBytes + 1) * kPageBytes) {
        if (!touch(at_address(page), write))
            return false;
        if (last / kPageBytes == page / kPageBytes)
            return true;
    }
}

} // namespace sailsim::kernels

using namespace sailsim;
using namespace sailsim::kernels;

void lutmm_install_emulator()
{
    try {
        static const pim::SliceConfig config = emulated_unit();
        config_of_units = &config;
    } catch (const std::exception &error) {
        fail("the emulated unit cannot be made: %s", error.what());
    }
    install(SIGSEGV, on_fault, SA_NODEFER);
    install(SIGBUS, on_fault, SA_NODEFER);
    install(SIGILL, on_illegal, 0);
}

std::uint64_t lutmm_emulated()
{
    return executed.load(std::memory_order_relaxed);
}

unsigned lutmm_units()
{
    return emulated_units;
}

void lutmm_submit(unsigned unit, const lutmm_descriptor *descriptor)
{
    if (unit >= LUTMM_UNITS_MAX)
        fail("lutmm_submit: unit is %u; allowed: 0 to %d", unit, LUTMM_UNITS_MAX - 1);
    submit(unit, descriptor, std::make_integer_sequence<unsigned, LUTMM_UNITS_MAX>{});
}

std::uint32_t lutmm_wait(const lutmm_completion *record, std::uint64_t timeout_ns)
{
    constexpr unsigned polls_between_looks_at_the_clock = 1024;
    const std::uint64_t start = now_ns();
    Backoff backoff;
    for (unsigned polls = 1;; ++polls) {
        const std::uint32_t status = __atomic_load_n(&record->status, __ATOMIC_ACQUIRE);
        if (status != LUTMM_PENDING)
            return status;
        if (polls % polls_between_looks_at_the_clock == 0 && now_ns() - start > timeout_ns)
            return status;
        backoff.pause();
    }
}

const char *lutmm_status_name(std::uint32_t status)
{
    return pim::status_name(status);
}
