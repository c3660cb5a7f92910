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

// A file whose parts are asked for by offset and size.
class File
{
  public:
    explicit File(const std::string &path) : path_(path), file_(std::fopen(path.c_str(), "rb"))
    {
        if (file_ == nullptr)
            fail("trace %s cannot be opened", path_.c_str());
        if (std::fseek(file_, 0, SEEK_END) != 0)
            fail("trace %s is not a file", path_.c_str());
        const long end = std::ftell(file_);
        size_ = end < 0 ? 0 : static_cast<std::uint64_t>(end);
    }
    ~File() { std::fclose(file_); }
    File(const File &) = delete;
    File &operator=(const File &) = delete;

    // Before memory is taken for a part: the file must have it.
    void require(const char *part, std::uint64_t offset, std::uint64_t bytes) const
    {
        if (offset > size_ || bytes > size_ - offset)
            fail("trace %s is cut short: %s needs %" PRIu64 " bytes from byte %" PRIu64
                 ", the file has %" PRIu64,
                 path_.c_str(), part, bytes, offset, size_);
    }
    void read(const char *part, std::uint64_t offset, void *to, std::uint64_t bytes)
    {
        require(part, offset, bytes);
        if (bytes == 0)
            return;
        if (std::fseek(file_, static_cast<long>(offset), SEEK_SET) != 0 ||
            std::fread(to, bytes, 1, file_) != 1)
            fail("trace %s: %s cannot be read", path_.c_str(), part);
    }

  private:
    std::string path_;
    std::FILE *file_;
    std::uint64_t size_ = 0;
};

// A protected page keeps its place: an unmapped one could be taken by a later mapping. gem5's cores ignore
// protections, but its syscall emulation never maps a place twice.
void close_page(unsigned char *page)
{
    const bool closed = mprotect(page, kPageBytes, PROT_NONE) == 0 && !can_read(address_of(page), 1);
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
    File file(path);
    FileHeader header;
    file.read("the header", 0, &header, sizeof header);
    check(path, header);
    const std::uint64_t descriptor_bytes = header.descriptor_count * sizeof(lutmm_descriptor);
    const std::uint64_t expected_bytes = header.descriptor_count * sizeof(std::uint64_t);
    file.require("the image", header.image_offset, header.stored_bytes);
    file.require("the descriptor array", header.descriptor_offset, descriptor_bytes);
    file.require("the array of expected outputs", header.expected_offset, expected_bytes);

    base_ = header.base;
    stored_bytes_ = header.stored_bytes;
    image_bytes_ = header.image_bytes;
    mapped_ = (image_bytes_ + kPageBytes - 1) / kPageBytes * kPageBytes + 2 * kPageBytes;
    void *memory = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("cannot allocate %zu bytes", mapped_);
    unsigned char *last_page = static_cast<unsigned char *>(memory) + mapped_ - kPageBytes;
    close_page(static_cast<unsigned char *>(memory));
    close_page(last_page);
    image_ = last_page - image_bytes_;
    file.read("the image", header.image_offset, image_, header.stored_bytes);
    descriptors_ = std::make_unique<Buffer>(descriptor_bytes);
    file.read("the descriptor array", header.descriptor_offset, descriptors_->bytes(), descriptor_bytes);
    expected_.resize(header.descriptor_count);
    file.read("the array of expected outputs", header.expected_offset, expected_.data(), expected_bytes);

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

Trace::~Trace()
{
    munmap(image_ + image_bytes_ + kPageBytes - mapped_, mapped_);
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
