/* SPDX-License-Identifier: BSD-3-Clause */
// What all programs have in common: options of the form `--name value` and `--flag`, one JSON object a line
// on stdout, and ends with one sentence on stderr and an exit status that says whose fault it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>

namespace sailsim::kernels
{

constexpr int kExitWrong = 1; // the program ran and a result was wrong
constexpr int kExitUsage = 2; // the input or the machine does not allow the run

// Prints "error: <sentence>" and exits with kExitUsage.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Writes rows of so many bytes, each so far behind the one before, to the file that an option names; ends the
// program with one sentence where it cannot.
void write_rows(const char *option, const std::string &path, const unsigned char *row, std::size_t rows,
                std::size_t bytes, std::size_t stride);

// Options are declared where they are read.
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
    std::string help_;
    std::map<std::string, const char *> arguments_; // that nobody has read yet; null: without a value
};

// One flat object. Values are ours: names and words without characters that JSON would have to escape.
class JsonLine
{
  public:
    JsonLine &add(const char *key, const char *value);
    JsonLine &add(const char *key, const std::string &value) { return add(key, value.c_str()); }
    JsonLine &add(const char *key, std::uint64_t value);
    JsonLine &add(const char *key, double value);
    JsonLine &add_hex(const char *key, std::uint64_t value);
    void print();

  private:
    JsonLine &member(const char *key, const std::string &value);
    std::string text_;
};

} // namespace sailsim::kernels
