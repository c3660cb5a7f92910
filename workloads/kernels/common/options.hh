/* SPDX-License-Identifier: BSD-3-Clause */
// Command line options of the form `--name value` and `--flag`, declared where they are read.
#ifndef SAILSIM_KERNELS_COMMON_OPTIONS_HH
#define SAILSIM_KERNELS_COMMON_OPTIONS_HH

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace sailsim::kernels
{

class Options
{
  public:
    Options(int argc, char **argv, const char *summary);

    // Each reads one option; a missing one has its default, a bad value ends the program with one sentence.
    std::uint64_t number(const char *name, std::uint64_t fallback, std::uint64_t least, std::uint64_t most,
                         const char *help);
    std::string word(const char *name, const char *fallback, std::initializer_list<const char *> allowed,
                     const char *help);
    std::string text(const char *name, const char *fallback, const char *help);
    bool flag(const char *name, const char *help);

    // After the last declaration: answers --help, refuses what nobody declared.
    void finish();

  private:
    struct Argument {
        std::string name, value;
        bool has_value, used;
    };
    const std::string *find(const char *name);
    void describe(const char *name, const std::string &value, const char *help);

    std::string program_, help_;
    std::vector<Argument> arguments_;
    bool wants_help_ = false;
};

} // namespace sailsim::kernels

#endif
