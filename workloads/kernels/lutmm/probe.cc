/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/probe.hh"

#include "common/fail.hh"

#include <csignal>
#include <cstddef>
#include <initializer_list>
#include <ucontext.h>

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

constexpr std::uint64_t kPage =
    4096; // the smallest page of AArch64: a multiple of it never spans two protections

void on_fault(int signal, siginfo_t *, void *context)
{
    auto *machine = &static_cast<ucontext_t *>(context)->uc_mcontext;
    for (const char *access : {&sailsim_probe_load, &sailsim_probe_exclusive, &sailsim_probe_store})
        if (machine->pc == reinterpret_cast<std::uintptr_t>(access)) {
            machine->pc = reinterpret_cast<std::uintptr_t>(&sailsim_probe_failed);
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
    for (std::uint64_t page = address;; page = (page / kPage + 1) * kPage) {
        if (probe(page) == 0)
            return false;
        if (last / kPage == page / kPage)
            return true;
    }
}

} // namespace

void install_probes()
{
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (const int signal : {SIGSEGV, SIGBUS})
        if (sigaction(signal, &action, nullptr) != 0)
            fail("cannot install the handler of signal %d", signal);
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
