/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/trace.hh"

#include "common/program.hh"
#include "lutmm/unit.hh"

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>

namespace sailsim::kernels
{

namespace
{

constexpr char kMagic[8] = {'S', 'A', 'I', 'L', 'T', 'R', 'C', 'E'};
constexpr std::uint32_t kVersion = 1;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;

struct FileHeader {
    char magic[8];
    std::uint32_t version, abi_version;
    std::uint64_t base, image_bytes, image_offset, stored_bytes;
    std::uint64_t descriptor_offset, descriptor_count, expected_offset, json_offset, json_bytes;
};
static_assert(sizeof(FileHeader) == 88); // reserved bytes follow

// Reads part of a trace; ends the program where the file has not got it. With no room for it, only looks.
void read_part(std::FILE *file, const std::string &path, const char *part, std::uint64_t offset,
               std::uint64_t bytes, void *to)
{
    const long end = std::fseek(file, 0, SEEK_END) == 0 ? std::ftell(file) : -1;
    const std::uint64_t size = end < 0 ? 0 : static_cast<std::uint64_t>(end);
    if (offset > size || bytes > size - offset)
        fail("trace %s is cut short: %s needs %" PRIu64 " bytes from byte %" PRIu64 ", the file has %" PRIu64,
             path.c_str(), part, bytes, offset, size);
    if (to != nullptr && bytes > 0 &&
        (std::fseek(file, static_cast<long>(offset), SEEK_SET) != 0 || std::fread(to, bytes, 1, file) != 1))
        fail("trace %s: %s cannot be read", path.c_str(), part);
}

// A protected page keeps its place: an unmapped one could be taken by a later mapping. gem5's cores ignore
// protections, but its syscall emulation never maps a place twice.
void close_page(unsigned char *page)
{
    const bool closed = mprotect(page, kPageBytes, PROT_NONE) == 0 && !can_touch(address_of(page), 1);
    if (!closed && munmap(page, kPageBytes) != 0)
        fail("cannot close the guard page at %p", static_cast<void *>(page));
}

void check(const std::string &path, const FileHeader &header)
{
    if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0)
        fail("%s is no trace: it does not begin with %.8s", path.c_str(), kMagic);
    if (header.version != kVersion)
        fail("trace %s has version %" PRIu32 "; allowed is %" PRIu32, path.c_str(), header.version, kVersion);
    if (header.abi_version != LUTMM_ABI_VERSION)
        fail("trace %s has abi_version %" PRIu32 "; allowed is %d", path.c_str(), header.abi_version,
             LUTMM_ABI_VERSION);
    if (header.base == 0 || header.base % LUTMM_BUFFER_ALIGN != 0)
        fail("trace %s has base %#" PRIx64 "; allowed are multiples of %d above 0", path.c_str(), header.base,
             LUTMM_BUFFER_ALIGN);
    if (header.image_bytes == 0 || header.image_bytes > kMostBytes ||
        header.image_bytes % LUTMM_BUFFER_ALIGN != 0)
        fail("trace %s has image_bytes %" PRIu64 "; allowed are multiples of %d from %d to 2^40",
             path.c_str(), header.image_bytes, LUTMM_BUFFER_ALIGN, LUTMM_BUFFER_ALIGN);
    if (header.stored_bytes > header.image_bytes)
        fail("trace %s stores %" PRIu64 " bytes of an image; allowed are its image_bytes, %" PRIu64,
             path.c_str(), header.stored_bytes, header.image_bytes);
    if (header.descriptor_count == 0 || header.descriptor_count > kMostBytes / sizeof(lutmm_descriptor))
        fail("trace %s has descriptor_count %" PRIu64 "; allowed are 1..2^34", path.c_str(),
             header.descriptor_count);
}

} // namespace

Trace::Trace(const std::string &path) : path_(path)
{
    if (path.empty())
        fail("--trace is missing; see --help");
    std::FILE *file = std::fopen(path.c_str(), "rb");
    if (file == nullptr)
        fail("trace %s cannot be opened", path.c_str());
    const auto part = [&](const char *name, std::uint64_t offset, std::uint64_t bytes, void *to) {
        read_part(file, path, name, offset, bytes, to);
    };
    FileHeader header;
    part("the header", 0, sizeof header, &header);
    check(path, header);
    const std::uint64_t descriptor_bytes = header.descriptor_count * sizeof(lutmm_descriptor);
    const std::uint64_t expected_bytes = header.descriptor_count * sizeof(std::uint64_t);
    // Before memory is taken: the file must have it.
    part("the image", header.image_offset, header.stored_bytes, nullptr);
    part("the descriptor array", header.descriptor_offset, descriptor_bytes, nullptr);
    part("the array of expected outputs", header.expected_offset, expected_bytes, nullptr);

    base_ = header.base;
    stored_bytes_ = header.stored_bytes;
    image_bytes_ = header.image_bytes;
    const std::size_t pages = (image_bytes_ + kPageBytes - 1) / kPageBytes;
    memory_ = std::make_unique<Buffer>((pages + 2) * kPageBytes);
    unsigned char *last_page = memory_->bytes() + (pages + 1) * kPageBytes;
    close_page(memory_->bytes());
    close_page(last_page);
    image_ = last_page - image_bytes_;
    part("the image", header.image_offset, header.stored_bytes, image_);
    descriptors_ = std::make_unique<Buffer>(descriptor_bytes);
    part("the descriptor array", header.descriptor_offset, descriptor_bytes, descriptors_->bytes());
    expected_.resize(header.descriptor_count);
    part("the array of expected outputs", header.expected_offset, expected_bytes, expected_.data());
    std::fclose(file);

    for (std::size_t i = 0; i < size(); ++i) {
        lutmm_descriptor &d = descriptors()[i];
        for (std::uint64_t *address : {&d.weights, &d.activations, &d.output, &d.completion})
            *address = relocated(*address);
        if (d.scales != 0)
            d.scales = relocated(d.scales);
        if ((d.flags & LUTMM_F_CODE_MASK) == LUTMM_F_CODE_BOOK && d.codebook != 0)
            d.codebook = relocated(d.codebook);
    }
}

// An address of the trace in this process. One outside the image moves to the closed page behind it and keeps
// its alignment: it faults here as it would have faulted there, instead of hitting memory of this program.
std::uint64_t Trace::relocated(std::uint64_t address) const
{
    if (address >= base_ && address - base_ < image_bytes_)
        return address_of(image_) + (address - base_);
    return address_of(image_ + image_bytes_) + address % LUTMM_BUFFER_ALIGN;
}

bool Trace::takes_results(std::uint64_t address, std::size_t bytes) const
{
    const std::uint64_t first = address_of(image_ + stored_bytes_), end = address_of(image_ + image_bytes_);
    return address >= first && address <= end && bytes <= end - address;
}

std::size_t Trace::wrong_words(std::size_t i)
{
    const lutmm_descriptor &d = descriptors()[i];
    const std::uint64_t place = expected_[i] - base_, bytes = 4 * output_words(d);
    if (!expects(i))
        return 0;
    if (expected_[i] < base_ || place > stored_bytes_ || stored_bytes_ - place < bytes)
        fail("trace %s: the expected output of descriptor %zu is not in the stored image", path_.c_str(), i);
    const auto is_nan = [](std::uint32_t word) { return (word & 0x7fffffffu) > 0x7f800000u; };
    const auto *expected = at_address<std::uint32_t>(address_of(image_) + place);
    const auto *output = at_address<std::uint32_t>(d.output);
    std::size_t wrong = 0;
    for (std::size_t word = 0; word < output_words(d); ++word)
        wrong += output[word] != expected[word] &&
                 !(d.scales != 0 && is_nan(output[word]) && is_nan(expected[word]));
    return wrong;
}

} // namespace sailsim::kernels
