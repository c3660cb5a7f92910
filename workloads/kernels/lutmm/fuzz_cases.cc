/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/fuzz_cases.hh"

#include "common/random.hh"
#include "lutmm/arena.hh"
#include "lutmm/layout.hh"

#include <array>
#include <cstdint>
#include <cstring>

namespace sailsim::kernels
{

namespace
{

// Shapes whose operands fit the arena's regions.
constexpr std::uint64_t kMostK = 48, kMostN = 24, kMostBatch = 6;

bool one_in(Random &random, std::uint64_t count)
{
    return random.below(count) == 0;
}

// From 1 to `most`, small ones more often.
std::uint64_t size_up_to(std::uint64_t most, Random &random)
{
    return 1 + random.below(1 + random.below(most));
}

std::uint64_t place(const Arena &arena, Arena::Place where, std::size_t bytes, Random &random)
{
    return one_in(random, 4) ? arena.first(where) : arena.at_end(where, bytes);
}

unsigned char *memory(std::uint64_t address)
{
    return reinterpret_cast<unsigned char *>(static_cast<std::uintptr_t>(address));
}

void write_weights(const lutmm_descriptor &d, Random &random)
{
    unsigned char *bytes = memory(d.weights);
    random.fill(bytes, weight_bytes(d));
    if (code_kind(d) != LUTMM_F_CODE_TERNARY)
        return;
    for (std::size_t i = 0; i < weight_bytes(d); ++i) {
        const unsigned char threes = bytes[i] & (bytes[i] >> 1) & 0x55; // the low bit of every code 3
        bytes[i] = static_cast<unsigned char>(bytes[i] & ~threes);
    }
}

void write_activations(const lutmm_descriptor &d, Random &random)
{
    const bool is_signed = (d.flags & LUTMM_F_ACT_UNSIGNED) == 0;
    const unsigned spare = 64u - d.abits;
    const std::size_t count = static_cast<std::size_t>(d.batch) * d.k, width = d.abits <= 8 ? 1 : 2;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t bits = random.next() << spare;
        const std::uint64_t value =
            is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(bits) >> spare) : bits >> spare;
        std::memcpy(memory(d.activations) + i * width, &value,
                    width); // little endian: the low bytes come first
    }
}

// Finite numbers of moderate size: which NaN an operation returns is not part of the contract.
void write_scales(const lutmm_descriptor &d, Random &random)
{
    for (std::size_t i = 0; i < block_scale_bytes(d) / 2; ++i) {
        const auto half = static_cast<std::uint16_t>(random.next() & 0xbfff); // an exponent below 16
        std::memcpy(memory(d.scales) + 2 * i, &half, sizeof half);
    }
    for (std::size_t b = 0; b < d.batch; ++b) {
        const float scale = random.symmetric();
        std::memcpy(memory(d.scales) + block_scale_bytes(d) + 4 * b, &scale, sizeof scale);
    }
}

void write_codebook(const lutmm_descriptor &d, Random &random)
{
    const unsigned spare = one_in(random, 4) ? 0 : 8;
    for (std::size_t i = 0; i < codebook_bytes(d) / 2; ++i) {
        const auto value = static_cast<std::int16_t>(static_cast<std::int16_t>(random.next()) >> spare);
        std::memcpy(memory(d.codebook) + 2 * i, &value, sizeof value);
    }
}

// The addresses of a descriptor, each with the region it belongs to.
struct Address {
    std::uint64_t lutmm_descriptor::*field;
    Arena::Place place;
};
constexpr std::array<Address, 6> kAddresses = {{{&lutmm_descriptor::weights, Arena::weights},
                                                {&lutmm_descriptor::activations, Arena::activations},
                                                {&lutmm_descriptor::output, Arena::output},
                                                {&lutmm_descriptor::scales, Arena::scales},
                                                {&lutmm_descriptor::completion, Arena::completion},
                                                {&lutmm_descriptor::codebook, Arena::codebook}}};

void mutate_address(lutmm_descriptor &d, const Arena &arena, Random &random)
{
    const Address &chosen = kAddresses[random.below(kAddresses.size())];
    std::uint64_t &address = d.*chosen.field;
    const auto other = static_cast<Arena::Place>(random.below(Arena::places));
    switch (random.below(8)) {
    case 0: // off the line by a little
        address += 1 + random.below(LUTMM_BUFFER_ALIGN - 1);
        break;
    case 1: // one or more lines further: over the end of the region, or not
        address += LUTMM_BUFFER_ALIGN * (1 + random.below(4));
        break;
    case 2: // before the region
        address = arena.first(chosen.place) - LUTMM_BUFFER_ALIGN * (1 + random.below(4));
        break;
    case 3: // behind it
        address = arena.end(chosen.place) + LUTMM_BUFFER_ALIGN * random.below(4);
        break;
    case 4: // the ends of the address space
        address = LUTMM_BUFFER_ALIGN * random.below(4) - (one_in(random, 2) ? 4 * LUTMM_BUFFER_ALIGN : 0);
        break;
    case 5: // in the region of another buffer
        address = arena.first(other) + LUTMM_BUFFER_ALIGN * random.below(kPageBytes / LUTMM_BUFFER_ALIGN);
        break;
    case 6: // on another buffer, or next to it
        address = d.*kAddresses[random.below(kAddresses.size())].field + LUTMM_BUFFER_ALIGN * random.below(2);
        break;
    default:
        address = arena.first(Arena::read_only) + LUTMM_BUFFER_ALIGN * random.below(8);
    }
}

} // namespace

lutmm_descriptor valid_descriptor(Arena &arena, Random &random)
{
    constexpr std::array<std::uint8_t, 4> kinds = {LUTMM_F_CODE_TWOS, LUTMM_F_CODE_OFFSET,
                                                   LUTMM_F_CODE_TERNARY, LUTMM_F_CODE_BOOK};
    lutmm_descriptor d{};
    d.k = static_cast<std::uint32_t>(size_up_to(kMostK, random));
    d.n = static_cast<std::uint32_t>(size_up_to(kMostN, random));
    d.batch = static_cast<std::uint16_t>(size_up_to(kMostBatch, random));
    d.flags = kinds[random.below(kinds.size())];
    d.wbits = static_cast<std::uint8_t>(d.flags == LUTMM_F_CODE_TERNARY ? 2 : 1 + random.below(8));
    d.abits = static_cast<std::uint8_t>(1 + random.below(16));
    d.nbw = static_cast<std::uint8_t>(1 + random.below(6));
    d.group_size = static_cast<std::uint16_t>(one_in(random, 3) ? 0 : 1 + random.below(d.k + 4));
    for (const unsigned flag : {LUTMM_F_ACT_UNSIGNED, LUTMM_F_PRT, LUTMM_F_CONVERT})
        if (one_in(random, 2))
            d.flags = static_cast<std::uint8_t>(d.flags | flag);
    const bool converts = (d.flags & LUTMM_F_CONVERT) != 0;
    if (converts && one_in(random, 2))
        d.flags = static_cast<std::uint8_t>(d.flags | LUTMM_F_MINIMUM);

    d.weights = place(arena, Arena::weights, weight_bytes(d), random);
    d.activations = place(arena, Arena::activations, activation_bytes(d), random);
    d.output = place(arena, Arena::output, output_bytes(d), random);
    d.completion = arena.first(Arena::completion) + LUTMM_COMPLETION_ALIGN * random.below(kPageBytes / 32);
    write_weights(d, random);
    write_activations(d, random);
    if (converts) {
        d.scales = place(arena, Arena::scales, scale_bytes(d), random);
        write_scales(d, random);
    }
    if (code_kind(d) == LUTMM_F_CODE_OFFSET)
        d.codebook = random.below(std::uint64_t{1} << d.wbits);
    if (code_kind(d) == LUTMM_F_CODE_BOOK) {
        d.codebook = place(arena, Arena::codebook, codebook_bytes(d), random);
        write_codebook(d, random);
    }
    return d;
}

void mutate(lutmm_descriptor &d, Arena &arena, Random &random)
{
    const auto any_byte = static_cast<std::uint8_t>(random.next());
    switch (random.below(14)) {
    case 0:
        d.wbits = one_in(random, 2) ? 0 : any_byte;
        break;
    case 1:
        d.abits = one_in(random, 2) ? 17 : any_byte;
        break;
    case 2:
        d.nbw = one_in(random, 2) ? 7 : any_byte;
        break;
    case 3: // sizes of nothing, of more than there is, and of more than can be
        d.k = one_in(random, 3) ? 0 : static_cast<std::uint32_t>(random.next() >> (32 + random.below(32)));
        break;
    case 4:
        d.n = one_in(random, 3) ? 0 : static_cast<std::uint32_t>(random.next() >> (32 + random.below(32)));
        break;
    case 5:
        d.batch =
            static_cast<std::uint16_t>(one_in(random, 3) ? 0 : random.next() >> (48 + random.below(16)));
        break;
    case 6:
        d.flags = static_cast<std::uint8_t>(d.flags ^ (1u << random.below(8)));
        break;
    case 7:
        d.codebook = random.next() >> random.below(64);
        break;
    case 8: // what was written for one width or kind, read as another
        d.abits = static_cast<std::uint8_t>(1 + random.below(16));
        break;
    case 9:
        random.fill(arena.bytes(Arena::activations), kPageBytes);
        break;
    case 10:
        random.fill(arena.bytes(Arena::weights), kPageBytes);
        break;
    default:
        mutate_address(d, arena, random);
    }
}

} // namespace sailsim::kernels
