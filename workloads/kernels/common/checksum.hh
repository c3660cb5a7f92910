/* SPDX-License-Identifier: BSD-3-Clause */
// FNV-1a over the bytes of a result: equal results have equal checksums on every machine and thread count.
#ifndef SAILSIM_KERNELS_COMMON_CHECKSUM_HH
#define SAILSIM_KERNELS_COMMON_CHECKSUM_HH

#include <cstddef>
#include <cstdint>

namespace sailsim::kernels
{

inline std::uint64_t checksum(const void *bytes, std::size_t size)
{
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (std::size_t i = 0; i < size; ++i)
        hash = (hash ^ static_cast<const unsigned char *>(bytes)[i]) * 0x100000001b3u;
    return hash;
}

} // namespace sailsim::kernels

#endif
