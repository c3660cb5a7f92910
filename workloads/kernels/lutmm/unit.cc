/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/unit.hh"

#include "common/measure.hh"
#include "common/program.hh"
#include "common/team.hh"
#include "emulated_unit.hh" // made from the system file sail-n1
#include "lutmm_runtime.h"
#include "pim/descriptor.hh"

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <ucontext.h>
#include <utility>

// int sailsim_probe_read(address), int sailsim_probe_write(address): 1, or 0 when the access at the label
// faults and the handler goes on at sailsim_probe_failed. The write is an exclusive pair, so that a store by
// another thread in between is not undone.
__asm__(R"(
    .text
    .align 2
    .type sailsim_probe_read, %function
sailsim_probe_read:
    .globl sailsim_probe_load
sailsim_probe_load:
    ldrb w1, [x0]
    mov w0, #1
    ret
    .size sailsim_probe_read, . - sailsim_probe_read
    .type sailsim_probe_write, %function
sailsim_probe_write:
    .globl sailsim_probe_exclusive
sailsim_probe_exclusive:
    ldxrb w1, [x0]
    .globl sailsim_probe_store
sailsim_probe_store:
    stxrb w2, w1, [x0]
    cbnz w2, sailsim_probe_exclusive
    mov w0, #1
    ret
    .globl sailsim_probe_failed
sailsim_probe_failed:
    mov w0, #0
    ret
    .size sailsim_probe_write, . - sailsim_probe_write
)");

extern "C" {
int sailsim_probe_read(std::uint64_t address);
int sailsim_probe_write(std::uint64_t address);
extern const char sailsim_probe_load, sailsim_probe_exclusive, sailsim_probe_store, sailsim_probe_failed;
}

namespace sailsim::kernels
{

namespace
{

void on_fault(int signal, siginfo_t *, void *context)
{
    auto *machine = &static_cast<ucontext_t *>(context)->uc_mcontext;
    for (const char *access : {&sailsim_probe_load, &sailsim_probe_exclusive, &sailsim_probe_store})
        if (machine->pc == address_of(access)) {
            machine->pc = address_of(&sailsim_probe_failed);
            return;
        }
    std::signal(signal, SIG_DFL); // a fault of the program itself: returning repeats it
}

bool all_pages(std::uint64_t address, std::uint64_t bytes, int (*probe)(std::uint64_t))
{
    if (bytes == 0)
        return true;
    const std::uint64_t last = address + (bytes - 1);
    if (last < address)
        return false;
    for (std::uint64_t page = address;; page = (page / kPageBytes + 1) * kPageBytes) {
        if (probe(page) == 0)
            return false;
        if (last / kPageBytes == page / kPageBytes)
            return true;
    }
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

// One descriptor at a time: the core allocates, and the threads of a Team must not allocate at the same time.
std::atomic_flag busy = ATOMIC_FLAG_INIT;

// A descriptor that cannot be read has no record to answer in: the unit drops it.
void execute(unsigned unit, std::uint64_t address)
{
    if (address % LUTMM_BUFFER_ALIGN != 0 || !can_read(address, sizeof(lutmm_descriptor)))
        return;
    lutmm_descriptor descriptor;
    std::memcpy(&descriptor, at_address(address), sizeof descriptor);
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
    std::memcpy(&word, at_address(machine->pc), sizeof word);
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

void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action{};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    if (sigaction(signal, &action, nullptr) != 0)
        fail("cannot install the handler of signal %d", signal);
}

using Submit = void (*)(const lutmm_descriptor *);

template <unsigned Unit>
void submit_to(const lutmm_descriptor *descriptor)
{
    register const lutmm_descriptor *address __asm__("x9") = descriptor;
    __asm__ volatile(".inst %c1" : : "r"(address), "i"(LUTMM_INSN(Unit, 9)) : "memory");
}

template <unsigned... Unit>
constexpr std::array<Submit, sizeof...(Unit)> submits(std::integer_sequence<unsigned, Unit...>)
{
    return {submit_to<Unit>...};
}

constexpr auto kSubmit = submits(std::make_integer_sequence<unsigned, LUTMM_UNITS_MAX>{});

} // namespace

void install_emulator()
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

std::uint64_t emulated_descriptors()
{
    return executed.load(std::memory_order_relaxed);
}

void submit(unsigned unit, const lutmm_descriptor *descriptor)
{
    kSubmit[unit](descriptor);
}

std::uint32_t wait_for(std::uint64_t record, std::uint64_t timeout_ns)
{
    constexpr unsigned polls_between_looks_at_the_clock = 1024;
    const std::uint64_t start = now_ns();
    Backoff backoff;
    for (unsigned polls = 1;; ++polls) {
        const std::uint32_t status = __atomic_load_n(at_address<std::uint32_t>(record), __ATOMIC_ACQUIRE);
        if (status != LUTMM_PENDING)
            return status;
        if (polls % polls_between_looks_at_the_clock == 0 && now_ns() - start > timeout_ns)
            return status;
        backoff.pause();
    }
}

bool can_read(std::uint64_t address, std::uint64_t bytes)
{
    return all_pages(address, bytes, sailsim_probe_read);
}

bool can_write(std::uint64_t address, std::uint64_t bytes)
{
    return all_pages(address, bytes, sailsim_probe_write);
}

} // namespace sailsim::kernels

// The C interface of liblutmm.a.
using namespace sailsim;

void lutmm_install_emulator()
{
    kernels::install_emulator();
}

std::uint64_t lutmm_emulated()
{
    return kernels::emulated_descriptors();
}

unsigned lutmm_units()
{
    return kernels::emulated_units;
}

void lutmm_submit(unsigned unit, const lutmm_descriptor *descriptor)
{
    if (unit >= LUTMM_UNITS_MAX)
        kernels::fail("lutmm_submit: unit is %u; allowed: 0 to %d", unit, LUTMM_UNITS_MAX - 1);
    kernels::submit(unit, descriptor);
}

std::uint32_t lutmm_wait(const lutmm_completion *record, std::uint64_t timeout_ns)
{
    return kernels::wait_for(kernels::address_of(record), timeout_ns);
}

const char *lutmm_status_name(std::uint32_t status)
{
    return pim::status_name(status);
}
