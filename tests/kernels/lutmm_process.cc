/* SPDX-License-Identifier: BSD-3-Clause */
// What an operating system makes of a process must hold for PIM units as well: protections of pages, a
// forked child's own memory, a doorbell that only a store rings. Asks the units about each and checks every
// answer.
#include "common/measure.hh"
#include "common/program.hh"
#include "lutmm/unit.hh"

#include <array>
#include <cerrno>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

// A page of instructions that nobody executes, and one of constants whose values the compiler does not know.
__asm__(R"(
    .text
    .balign 4096
    .globl sailsim_code
sailsim_code:
    .fill 1024, 4, 0xd503201f
    .section .rodata
    .balign 4096
    .globl sailsim_constants
sailsim_constants:
    .fill 1024, 4, 0xd503201f
    .text
)");
extern "C" const unsigned char sailsim_code[], sailsim_constants[];

namespace
{

using namespace sailsim::kernels;

constexpr unsigned kUnit = 0;
constexpr int kAnyone = PROT_READ | PROT_WRITE;

alignas(kPageBytes) unsigned char variables[kPageBytes] = {1, 2, 3};

// A small tile, whose output or weights may be sent to lie anywhere, and what has been checked with it.
struct Tile {
    static constexpr std::size_t kDepth = 64, kOutputs = 16;

    std::size_t checks = 0, failures = 0;
    std::uint64_t timeout_ns;
    std::array<std::int32_t, kOutputs> expected{};
    alignas(64) unsigned char weights[kDepth * kOutputs / 2];
    alignas(64) signed char activations[kDepth];
    alignas(64) unsigned char output[4 * kOutputs];
    alignas(64) lutmm_completion record{};
    alignas(64) lutmm_descriptor d{};

    Tile(std::uint64_t seed, std::uint64_t timeout) : timeout_ns(timeout)
    {
        d.k = kDepth;
        d.n = kOutputs;
        d.batch = 1;
        d.wbits = 4;
        d.abits = 8;
        d.nbw = 4;
        d.flags = LUTMM_F_CODE_TWOS;
        d.weights = address_of(weights);
        d.activations = address_of(activations);
        d.output = address_of(output);
        d.completion = address_of(&record);
        fill(seed);
    }

    // Other operands; the words that they give are worked out here.
    void fill(std::uint64_t seed)
    {
        Random random(seed);
        random.fill(weights, sizeof weights);
        random.fill(activations, sizeof activations);
        expected = {};
        for (std::size_t k = 0; k < kDepth; ++k)
            for (std::size_t n = 0; n < kOutputs; ++n) {
                const int code = weights[k * kOutputs / 2 + n / 2] >> (n % 2 * 4) & 15;
                expected[n] += (code < 8 ? code : code - 16) * activations[k];
            }
    }

    void forget()
    {
        record = {};
        std::memset(output, 0, sizeof output);
    }
    void wait() { wait_for(d, timeout_ns); }
    void ask()
    {
        forget();
        lutmm_submit(kUnit, &d);
        wait();
    }
    // Asks with another address in a field, for once.
    void ask_with(std::uint64_t &field, const void *memory)
    {
        const std::uint64_t home = std::exchange(field, address_of(memory));
        ask();
        field = home;
    }
    // Whether the unit has put the right words there.
    bool words_are_at(const void *memory) const
    {
        return record.status == LUTMM_OK && std::memcmp(memory, expected.data(), sizeof expected) == 0;
    }
    bool refused(std::size_t field) const
    {
        return record.status == LUTMM_ERR_FAULT && record.detail == field;
    }

    void check(const char *what, bool right)
    {
        ++checks;
        if (right)
            return;
        ++failures;
        JsonLine()
            .add("failure", what)
            .add("status", lutmm_status_name(record.status))
            .add("detail", std::uint64_t{record.detail})
            .print();
    }

    // What comes of the tile if its output lies here: right words, or a refusal that leaves what was there.
    void check_output(const char *what, const void *memory, bool writable)
    {
        std::array<unsigned char, sizeof output> before{};
        const bool readable = can_touch(address_of(memory), before.size());
        if (readable)
            std::memcpy(before.data(), memory, before.size());
        ask_with(d.output, memory);
        const bool kept = !readable || std::memcmp(before.data(), memory, before.size()) == 0;
        check(what, writable ? words_are_at(memory) : kept && refused(offsetof(lutmm_descriptor, output)));
    }

    // The same where nothing is mapped: in gem5 a touch would end the simulation.
    void check_nowhere(const char *what, const void *memory)
    {
        ask_with(d.output, memory);
        check(what, refused(offsetof(lutmm_descriptor, output)));
    }

    // What comes of the tile if its weights lie here; they are put there where it may be written.
    void check_weights(const char *what, void *memory, bool readable)
    {
        if (can_touch(address_of(memory), sizeof weights, true))
            std::memcpy(memory, weights, sizeof weights);
        ask_with(d.weights, memory);
        check(what, readable ? record.status == LUTMM_OK : refused(offsetof(lutmm_descriptor, weights)));
    }

    // A descriptor that cannot be one is dropped: units work in order, and the next one is answered.
    void check_dropped(const char *what, std::uint64_t descriptor)
    {
        lutmm_submit(kUnit, at_address<lutmm_descriptor>(descriptor));
        ask();
        check(what, words_are_at(output));
    }

    int report(const char *chosen, const char *process) const
    {
        JsonLine()
            .add("program", "lutmm_process")
            .add("case", chosen)
            .add("process", process)
            .add("emulated", lutmm_emulated())
            .add("checks", checks)
            .add("failures", failures)
            .print();
        return failures == 0 ? 0 : kExitWrong;
    }
};

unsigned char *map(std::size_t bytes, int protection, void *at = nullptr)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at != nullptr ? MAP_FIXED : 0);
    void *memory = mmap(at, bytes, protection, flags, -1, 0);
    if (memory == MAP_FAILED)
        fail("cannot map %zu bytes", bytes);
    return static_cast<unsigned char *>(memory);
}

void protect(void *memory, std::size_t bytes, int protection)
{
    if (mprotect(memory, bytes, protection) != 0)
        fail("cannot protect %zu bytes", bytes);
}

// More than the machine has memory: only what is touched takes any.
void check_reservation(Tile &tile)
{
    constexpr std::size_t reserved = std::size_t{3} << 30, part = 16 * kPageBytes;
    unsigned char *memory = map(reserved, PROT_NONE);
    unsigned char *middle = memory + reserved / 2;
    tile.check_output("output in a reservation", middle, false);
    tile.check_weights("weights in a reservation", middle, false);
    protect(memory, reserved, PROT_READ);
    tile.check_output("output in a read-only reservation", middle, false);
    tile.check_weights("weights in a read-only reservation", middle, true);
    protect(middle, part, kAnyone);
    tile.check_output("output in the part opened", middle, true);
    tile.check_output("output before it", middle - kPageBytes, false);
    tile.check_output("output at its end", middle + part - kPageBytes, true);
    tile.check_output("output behind it", middle + part, false);
    protect(middle, part, PROT_NONE);
    tile.check_output("output in the part closed again", middle, false);
    munmap(memory, reserved);
    tile.check_nowhere("output where nothing is mapped any more", middle);
    tile.check_dropped("a descriptor where nothing is mapped any more", address_of(middle));
    tile.check_dropped("a descriptor off a line", address_of(variables) + 1);
}

// Calls that make, move and take away mappings.
void check_mappings(Tile &tile)
{
    unsigned char *memory = map(4 * kPageBytes, PROT_READ);
    tile.check_output("output in memory mapped read-only", memory, false);
    protect(memory + kPageBytes, kPageBytes, kAnyone);
    tile.check_output("output in a page made writable", memory + kPageBytes, true);
    map(kPageBytes, PROT_READ, memory + kPageBytes);
    tile.check_output("output in a page mapped over it", memory + kPageBytes, false);
    map(2 * kPageBytes, kAnyone, memory);
    tile.check_output("output in writable pages mapped over them", memory + kPageBytes, true);
    tile.check_output("output in the page behind them", memory + 2 * kPageBytes, false);

    unsigned char *closed = map(2 * kPageBytes, kAnyone);
    closed[0] = closed[kPageBytes] = 1;
    protect(closed, 2 * kPageBytes, PROT_READ);
    void *moved = mremap(closed, 2 * kPageBytes, 8 * kPageBytes, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED)
        fail("cannot move a mapping");
    tile.check_output("output in read-only memory that moved", moved, false);
    tile.check_output("output in what it grew by", static_cast<unsigned char *>(moved) + 6 * kPageBytes,
                      false);
    protect(moved, 2 * kPageBytes, kAnyone);
    tile.check_output("output in moved memory made writable", moved, true);

    unsigned char *holed = map(4 * kPageBytes, kAnyone);
    munmap(holed + 2 * kPageBytes, kPageBytes);
    errno = 0;
    tile.check("mprotect over a hole", mprotect(holed, 4 * kPageBytes, PROT_READ) == -1 && errno == ENOMEM);
    errno = 0;
    tile.check("mprotect off a page", mprotect(holed + 1, kPageBytes, PROT_READ) == -1 && errno == EINVAL);
}

void check_heap(Tile &tile)
{
    constexpr std::intptr_t bytes = 8 * kPageBytes;
    const auto end = reinterpret_cast<std::uintptr_t>(sbrk(bytes)) + bytes;
    auto *page = reinterpret_cast<unsigned char *>((end - 2 * kPageBytes) / kPageBytes * kPageBytes);
    tile.check_output("output on the heap", page, true);
    protect(page, kPageBytes, PROT_READ);
    tile.check_output("output on a page of the heap made read-only", page, false);
    sbrk(-bytes);
    sbrk(bytes);
    tile.check_output("output on a page of a heap that shrank and grew", page, true);
    sbrk(-bytes);
}

int check_pages(Tile &tile)
{
    // Segments of the program's file.
    tile.check_output("output among constants", sailsim_constants, false);
    tile.check_output("output in code", sailsim_code, false);
    tile.check_output("output among variables", variables, true);
    check_reservation(tile);
    check_mappings(tile);
    check_heap(tile);
    return tile.report("pages", "only");
}

// Parent and child have operands of their own at the same addresses. Neither waits for the other to end: gem5
// has no call for that.
int check_fork(Tile &tile)
{
    unsigned char *memory = map(kPageBytes, PROT_READ);
    const pid_t child = fork();
    if (child < 0)
        fail("cannot make a process: allowed are as many as the machine has cores");
    if (child == 0)
        tile.fill(2);
    tile.check_output("output among variables", variables, true);
    tile.check_output("output among constants", sailsim_constants, false);
    tile.check_output("output in memory mapped read-only before", memory, false);
    if (child == 0)
        protect(memory, kPageBytes, kAnyone);
    tile.check_output("output in memory that the child made writable", memory, child == 0);
    return tile.report("fork", child == 0 ? "child" : "parent");
}

// Where LUTMM stores in gem5 (SailCPU.py), unit 0.
constexpr std::uint64_t kDoorbell = 0x7000000000;

// `later` is handed over when `tile` must have been, if anything rang for it.
int check_doorbell(Tile &tile, Tile &later)
{
    if (!can_touch(kDoorbell, 8))
        return tile.report("doorbell", "without a doorbell");
    auto *bell = reinterpret_cast<std::uint64_t *>(kDoorbell);
    const std::uint64_t descriptor = address_of(&tile.d);
    std::uint64_t swapped = 1, added = 1, compared = 0;
    tile.forget();
    __asm__ volatile("swpal %1, %0, [%2]" : "=r"(swapped) : "r"(descriptor), "r"(bell) : "memory");
    __asm__ volatile("ldaddal %1, %0, [%2]" : "=r"(added) : "r"(descriptor), "r"(bell) : "memory");
    __asm__ volatile("casal %0, %1, [%2]" : "+r"(compared) : "r"(descriptor), "r"(bell) : "memory");
    __asm__ volatile("str %w0, [%1]" : : "r"(descriptor), "r"(bell) : "memory");
    later.ask();
    tile.check("a descriptor behind what rings no doorbell", later.words_are_at(later.output));
    tile.check("what rings no doorbell", tile.record.status == LUTMM_PENDING);
    tile.check("what a doorbell holds", swapped == 0 && added == 0 && compared == 0);
    __asm__ volatile("dmb ish\n\tstr %0, [%1]" : : "r"(descriptor), "r"(bell) : "memory");
    tile.wait();
    tile.check("a store of 8 bytes", tile.words_are_at(tile.output));
    return tile.report("doorbell", "only");
}

} // namespace

int main(int argc, char **argv)
{
    Options options(argc, argv, "Asks PIM units about what an operating system makes of a process.");
    const std::string chosen =
        options.word("case", "pages", {"pages", "fork", "doorbell"},
                     "protections of pages, a child with memory of its own, or what rings a doorbell");
    const std::uint64_t timeout_ns =
        1'000'000 * options.number("timeout-ms", 10'000, 1, 1 << 30, "how long to wait for one answer");
    options.finish();

    lutmm_install_emulator();
    static Tile tile(1, timeout_ns), later(3, timeout_ns);
    if (chosen == "fork")
        return check_fork(tile);
    return chosen == "doorbell" ? check_doorbell(tile, later) : check_pages(tile);
}
