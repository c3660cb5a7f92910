/* SPDX-License-Identifier: BSD-3-Clause */
// One flat JSON object on one line of stdout: what a program reports, for people and for scripts.
#ifndef SAILSIM_KERNELS_COMMON_JSON_LINE_HH
#define SAILSIM_KERNELS_COMMON_JSON_LINE_HH

#include <cstdint>
#include <string>

namespace sailsim::kernels
{

class JsonLine
{
  public:
    // Values are ours: names and words without characters that JSON would have to escape.
    JsonLine &add(const char *key, const char *value);
    JsonLine &add(const char *key, const std::string &value) { return add(key, value.c_str()); }
    JsonLine &add(const char *key, std::uint64_t value);
    JsonLine &add(const char *key, double value);
    JsonLine &add_hex(const char *key, std::uint64_t value);
    void print();

  private:
    void key(const char *name);
    std::string text_ = "{";
};

} // namespace sailsim::kernels

#endif
