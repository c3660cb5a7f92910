/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/linears_kinds.hh"

#include "decode/linears_lut.hh"
#include "decode/linears_lutmm.hh"
#include "decode/linears_neon.hh"

namespace sailsim::kernels::decode
{

LinearsKind kind_of(const std::string &name)
{
    return name == "lutmm" ? LinearsKind::lutmm : name == "lut" ? LinearsKind::lut : LinearsKind::neon;
}

const char *kind_name(LinearsKind kind)
{
    return kind == LinearsKind::lutmm ? "lutmm" : kind == LinearsKind::lut ? "lut" : "neon";
}

std::unique_ptr<Linears> make_linears(LinearsKind kind, const Image &image, const LinearsSettings &settings)
{
    if (kind == LinearsKind::lutmm)
        return std::make_unique<LutmmLinears>(image, settings);
    if (kind == LinearsKind::lut)
        return std::make_unique<LutLinears>(image, settings.batch, settings.threads);
    return std::make_unique<NeonLinears>(image, settings.batch, settings.threads);
}

} // namespace sailsim::kernels::decode
