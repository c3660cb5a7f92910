/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/pair.h>

#include <cstring>

#include "arrays.hh"
#include "bind.hh"
#include "pim/check.hh"
#include "pim/descriptor.hh"

namespace sailsim::bindings
{

using namespace nb::literals;

namespace
{

/* A program's memory that is one array: addresses base .. base + size - 1. */
class FlatMemory : public pim::Memory
{
  public:
    FlatMemory(std::uint8_t *bytes, std::uint64_t count, std::uint64_t first)
        : data(bytes), size(count), base(first)
    {
    }

    bool readable(std::uint64_t address, std::uint64_t bytes) const override
    {
        return address >= base && address - base <= size && bytes <= size - (address - base);
    }
    bool writable(std::uint64_t address, std::uint64_t bytes) const override
    {
        return readable(address, bytes);
    }
    void read(std::uint64_t address, void *to, std::uint64_t bytes) const override
    {
        std::memcpy(to, data + (address - base), bytes);
    }
    void write(std::uint64_t address, const void *from, std::uint64_t bytes) override
    {
        std::memcpy(data + (address - base), from, bytes);
    }

  private:
    std::uint8_t *data;
    std::uint64_t size;
    std::uint64_t base;
};

lutmm_descriptor descriptor_argument(const nb::bytes &bytes)
{
    lutmm_descriptor d;
    if (bytes.size() != sizeof d)
        throw std::invalid_argument("descriptor has " + std::to_string(bytes.size()) +
                                    " bytes: allowed are 64");
    std::memcpy(&d, bytes.data(), sizeof d);
    return d;
}

using WritableBytes = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

} // namespace

void bind_descriptor(nb::module_ &m)
{
    nb::class_<lutmm_completion>(m, "Completion", "A completion record (sim_ext/abi/lutmm.h).")
        .def_ro("status", &lutmm_completion::status, "1 is success; the errors are in the ABI header.")
        .def_ro("detail", &lutmm_completion::detail, "On an error: byte offset of the offending field.")
        .def_ro("cycles", &lutmm_completion::cycles)
        .def_ro("lookups", &lutmm_completion::lookups)
        .def_ro("prt_hits", &lutmm_completion::prt_hits);

    m.def(
        "validate_descriptor",
        [](const pim::SliceConfig &config, const nb::bytes &descriptor) {
            const pim::Verdict verdict = validate_descriptor(descriptor_argument(descriptor), config);
            return std::pair<int, std::uint32_t>(verdict.status, verdict.detail);
        },
        "config"_a, "descriptor"_a, "Status and detail of what can be checked without reading memory.");

    m.def(
        "execute_descriptor",
        [](const pim::SliceConfig &config, const nb::bytes &descriptor, const WritableBytes &memory,
           std::uint64_t base, int threads) {
            pim::require_range("threads", threads, 1, max_threads);
            const lutmm_descriptor d = descriptor_argument(descriptor);
            FlatMemory flat(memory.data(), memory.size(), base);
            const nb::gil_scoped_release release;
            return execute_descriptor(d, config, flat, threads);
        },
        "config"_a, "descriptor"_a, nb::arg("memory").noconvert(), "base"_a = 0, "threads"_a = 1,
        "Does what a slice unit does with a descriptor, on a memory that is one writable uint8 array.\n\n"
        "memory[0] has the address ``base``. Output and completion record are written into it; the record "
        "is\n"
        "also returned. A bad descriptor is no exception but a status.");
}

} // namespace sailsim::bindings
