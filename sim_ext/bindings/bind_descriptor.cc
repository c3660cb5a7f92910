/* SPDX-License-Identifier: BSD-3-Clause */
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <string>

#include "arrays.hh"
#include "pim/descriptor.hh"

namespace sailsim::bindings
{

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

/* A field of a structure: its name, type and place. */
struct Field {
    const char *name;
    std::size_t bytes, offset;
};
#define SAILSIM_FIELD(type, field)                                                                           \
    Field                                                                                                    \
    {                                                                                                        \
        #field, sizeof(type{}.field), offsetof(type, field)                                                  \
    }
#define SAILSIM_DESCRIPTOR(field) SAILSIM_FIELD(lutmm_descriptor, field)
#define SAILSIM_COMPLETION(field) SAILSIM_FIELD(lutmm_completion, field)

/* A structure of unsigned numbers as NumPy's dtype takes it. */
nb::dict layout(std::size_t bytes, std::initializer_list<Field> fields)
{
    nb::list names, formats, offsets;
    for (const Field &field : fields) {
        names.append(field.name);
        formats.append("<u" + std::to_string(field.bytes));
        offsets.append(field.offset);
    }
    nb::dict dtype;
    dtype["names"] = names;
    dtype["formats"] = formats;
    dtype["offsets"] = offsets;
    dtype["itemsize"] = bytes;
    return dtype;
}

enum Flag : unsigned {};

void bind_abi(nb::module_ &m)
{
    m.attr("ABI_VERSION") = LUTMM_ABI_VERSION;
    m.attr("WBITS_MAX") = LUTMM_WBITS_MAX;
    m.attr("ABITS_MAX") = LUTMM_ABITS_MAX;
    m.attr("NBW_MAX") = LUTMM_NBW_MAX;
    m.attr("BUFFER_ALIGN") = LUTMM_BUFFER_ALIGN;
    m.attr("COMPLETION_ALIGN") = LUTMM_COMPLETION_ALIGN;
    m.attr("UNITS_MAX") = LUTMM_UNITS_MAX;
    m.attr("INSN_BASE") = LUTMM_INSN_BASE;
    m.attr("DESCRIPTOR_LAYOUT") =
        layout(sizeof(lutmm_descriptor),
               {SAILSIM_DESCRIPTOR(weights), SAILSIM_DESCRIPTOR(activations), SAILSIM_DESCRIPTOR(output),
                SAILSIM_DESCRIPTOR(scales), SAILSIM_DESCRIPTOR(completion), SAILSIM_DESCRIPTOR(k),
                SAILSIM_DESCRIPTOR(n), SAILSIM_DESCRIPTOR(batch), SAILSIM_DESCRIPTOR(wbits),
                SAILSIM_DESCRIPTOR(abits), SAILSIM_DESCRIPTOR(nbw), SAILSIM_DESCRIPTOR(flags),
                SAILSIM_DESCRIPTOR(group_size), SAILSIM_DESCRIPTOR(codebook)});
    m.attr("COMPLETION_LAYOUT") =
        layout(sizeof(lutmm_completion),
               {SAILSIM_COMPLETION(status), SAILSIM_COMPLETION(detail), SAILSIM_COMPLETION(cycles),
                SAILSIM_COMPLETION(lookups), SAILSIM_COMPLETION(prt_hits)});

    auto status =
        nb::enum_<lutmm_status>(m, "Status", nb::is_arithmetic(), "The status of a completion record.");
    for (std::uint32_t value = 0; value < pim::status_count; ++value)
        status.value(pim::status_name(value), static_cast<lutmm_status>(value));

    nb::enum_<Flag>(m, "Flag", nb::is_arithmetic(), "The bits of a descriptor's ``flags``.")
        .value("ACT_UNSIGNED", Flag{LUTMM_F_ACT_UNSIGNED})
        .value("CODE_OFFSET", Flag{LUTMM_F_CODE_OFFSET})
        .value("CODE_TERNARY", Flag{LUTMM_F_CODE_TERNARY})
        .value("CODE_BOOK", Flag{LUTMM_F_CODE_BOOK})
        .value("PRT", Flag{LUTMM_F_PRT})
        .value("CONVERT", Flag{LUTMM_F_CONVERT})
        .value("MINIMUM", Flag{LUTMM_F_MINIMUM});
    m.attr("CODE_TWOS") = LUTMM_F_CODE_TWOS;
    m.attr("CODE_MASK") = LUTMM_F_CODE_MASK;
    m.attr("RESERVED") = LUTMM_F_RESERVED;
}

using WritableBytes = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

} // namespace

void bind_descriptor(nb::module_ &m)
{
    bind_abi(m);
    nb::class_<lutmm_completion>(m, "Completion", "A completion record (sim_ext/abi/lutmm.h).")
        .def_ro("status", &lutmm_completion::status, "1 is success; the errors are in the ABI header.")
        .def_ro("detail", &lutmm_completion::detail, "On an error: byte offset of the offending field.")
        .def_ro("cycles", &lutmm_completion::cycles)
        .def_ro("lookups", &lutmm_completion::lookups)
        .def_ro("prt_hits", &lutmm_completion::prt_hits);

    m.def(
        "execute_descriptor",
        [](const pim::SliceConfig &config, const nb::bytes &descriptor, const WritableBytes &memory,
           std::uint64_t base, int threads) {
            require_threads(threads);
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
