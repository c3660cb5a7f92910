/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/recorder.hh"

#include "common/fail.hh"

#include <cstdio>
#include <cstring>

namespace sailsim::kernels::decode
{

void Recorder::add(const Rounded &x)
{
    const std::size_t scales = x.batch() * sizeof(float);
    if (!wanted_ || bytes_.size() - used_ < x.batch() * x.k() + scales)
        return;
    for (std::size_t b = 0; b < x.batch(); ++b, used_ += x.k())
        std::memcpy(bytes_.bytes() + used_, x.row(b), x.k());
    std::memcpy(bytes_.bytes() + used_, x.scales(), scales);
    used_ += scales;
}

void Recorder::write(const std::string &path) const
{
    std::FILE *file = std::fopen(path.c_str(), "wb");
    const bool good = file != nullptr && std::fwrite(bytes_.bytes(), 1, used_, file) == used_;
    if (file == nullptr || std::fclose(file) != 0 || !good)
        fail("--operands %s cannot be written", path.c_str());
}

} // namespace sailsim::kernels::decode
