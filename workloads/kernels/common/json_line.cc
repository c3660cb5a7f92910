/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/json_line.hh"

#include <cinttypes>
#include <cstdio>

namespace sailsim::kernels
{

void JsonLine::key(const char *name)
{
    text_ += (text_.size() > 1 ? ", \"" : "\"") + std::string(name) + "\": ";
}

JsonLine &JsonLine::add(const char *name, const char *value)
{
    key(name);
    text_ += "\"" + std::string(value) + "\"";
    return *this;
}

JsonLine &JsonLine::add(const char *name, std::uint64_t value)
{
    key(name);
    text_ += std::to_string(value);
    return *this;
}

JsonLine &JsonLine::add(const char *name, double value)
{
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.6g", value);
    key(name);
    text_ += digits;
    return *this;
}

JsonLine &JsonLine::add_hex(const char *name, std::uint64_t value)
{
    char digits[20];
    std::snprintf(digits, sizeof digits, "%016" PRIx64, value);
    return add(name, digits);
}

void JsonLine::print()
{
    std::printf("%s}\n", text_.c_str());
    std::fflush(stdout);
}

} // namespace sailsim::kernels
