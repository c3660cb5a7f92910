/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/trace_file.hh"

#include <cstring>
#include <fstream>
#include <stdexcept>

namespace gem5::sail
{

namespace
{

struct FileHeader {
    char magic[8];
    std::uint32_t version;
    std::uint32_t abi_version;
    std::uint64_t base;
    std::uint64_t image_bytes;
    std::uint64_t image_offset;
    std::uint64_t stored_bytes;
    std::uint64_t descriptor_offset;
    std::uint64_t descriptor_count;
    std::uint64_t expected_offset;
    std::uint64_t json_offset;
    std::uint64_t json_bytes;
    std::uint64_t reserved[5];
};
static_assert(sizeof(FileHeader) == 128, "docs/contract.md fixes the header's size");

class Reader
{
  public:
    explicit Reader(const std::string &path) : path(path), file(path, std::ios::binary | std::ios::ate)
    {
        if (!file)
            fail("cannot be opened");
        size = static_cast<std::uint64_t>(file.tellg());
    }

    /* `count` items of `item` bytes at `offset`. */
    void read(void *to, std::uint64_t offset, std::uint64_t count, std::uint64_t item)
    {
        if (offset > size || count > (size - offset) / item)
            fail("is cut short");
        file.seekg(static_cast<std::streamoff>(offset));
        file.read(static_cast<char *>(to), static_cast<std::streamsize>(count * item));
        if (!file)
            fail("cannot be read");
    }

    void require(std::uint64_t offset, std::uint64_t count, std::uint64_t item)
    {
        if (offset > size || count > (size - offset) / item)
            fail("is cut short");
    }

    [[noreturn]] void fail(const std::string &why) const
    {
        throw std::runtime_error("trace " + path + " " + why);
    }

  private:
    const std::string path;
    std::ifstream file;
    std::uint64_t size = 0;
};

} // namespace

TraceFile read_trace(const std::string &path, std::uint64_t image_address)
{
    Reader reader(path);
    FileHeader header;
    reader.read(&header, 0, 1, sizeof header);
    if (std::memcmp(header.magic, "SAILTRCE", sizeof header.magic) != 0)
        reader.fail("is no trace file");
    if (header.version != 1 || header.abi_version != LUTMM_ABI_VERSION)
        reader.fail("is of another version of the format");
    if (header.stored_bytes > header.image_bytes)
        reader.fail("stores more than its image holds");
    reader.require(header.image_offset, header.stored_bytes, 1);
    reader.require(header.descriptor_offset, header.descriptor_count, sizeof(lutmm_descriptor));
    reader.require(header.expected_offset, header.descriptor_count, sizeof(std::uint64_t));

    TraceFile trace;
    trace.image_bytes = header.image_bytes;
    trace.stored.resize(header.stored_bytes);
    trace.tiles.resize(header.descriptor_count);
    trace.expected.resize(header.descriptor_count);
    reader.read(trace.stored.data(), header.image_offset, header.stored_bytes, 1);
    reader.read(trace.tiles.data(), header.descriptor_offset, header.descriptor_count,
                sizeof(lutmm_descriptor));
    reader.read(trace.expected.data(), header.expected_offset, header.descriptor_count,
                sizeof(std::uint64_t));

    const std::uint64_t shift = image_address - header.base; /* modulo 2^64 */
    for (lutmm_descriptor &d : trace.tiles) {
        d.weights += shift;
        d.activations += shift;
        d.output += shift;
        d.completion += shift;
        if (d.scales != 0)
            d.scales += shift;
        if ((d.flags & LUTMM_F_CODE_MASK) == LUTMM_F_CODE_BOOK)
            d.codebook += shift;
    }
    for (std::uint64_t &address : trace.expected)
        if (address != 0)
            address += shift;
    return trace;
}

} // namespace gem5::sail
