/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/program.hh"

#include <cctype>
#include <cerrno>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sailsim::kernels
{

void fail(const char *format, ...)
{
    std::fflush(stdout);
    std::fputs("error: ", stderr);
    std::va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
    std::exit(kExitUsage);
}

void write_rows(const char *option, const std::string &path, const unsigned char *row, std::size_t rows,
                std::size_t bytes, std::size_t stride)
{
    std::FILE *file = std::fopen(path.c_str(), "wb");
    bool good = file != nullptr;
    for (; good && rows > 0; --rows, row += stride)
        good = std::fwrite(row, 1, bytes, file) == bytes;
    if (file == nullptr || std::fclose(file) != 0 || !good)
        fail("--%s %s cannot be written", option, path.c_str());
}

Options::Options(int argc, char **argv, const char *summary)
    : help_("usage: " + std::string(argv[0]) + " [options]\n" + summary + "\n")
{
    for (int i = 1; i < argc; ++i) {
        if (std::strncmp(argv[i], "--", 2) != 0)
            fail("unexpected argument '%s'; options are --name value", argv[i]);
        const char *name = argv[i] + 2;
        const bool has_value = i + 1 < argc && std::strncmp(argv[i + 1], "--", 2) != 0;
        arguments_[name] = has_value ? argv[++i] : nullptr;
    }
}

std::uint64_t Options::number(const char *name, std::uint64_t fallback, std::uint64_t least,
                              std::uint64_t most, const char *help)
{
    const std::string value = text(name, std::to_string(fallback).c_str(), help);
    char *end = nullptr;
    errno = 0;
    const unsigned long long number = std::strtoull(value.c_str(), &end, 0);
    const bool whole = std::isdigit(static_cast<unsigned char>(value[0])) && *end == '\0' && errno == 0;
    if (!whole || number < least || number > most)
        fail("--%s is '%s'; allowed: whole numbers %" PRIu64 "..%" PRIu64, name, value.c_str(), least, most);
    return number;
}

std::string Options::word(const char *name, const char *fallback, std::initializer_list<const char *> allowed,
                          const char *help)
{
    std::string words;
    for (const char *candidate : allowed)
        words += (words.empty() ? "" : "|") + std::string(candidate);
    const std::string value = text(name, fallback, (help + (" (" + words + ")")).c_str());
    for (const char *candidate : allowed)
        if (value == candidate)
            return value;
    fail("--%s is '%s'; allowed: %s", name, value.c_str(), words.c_str());
}

std::string Options::text(const char *name, const char *fallback, const char *help)
{
    help_ += "  --" + std::string(name) + " " + fallback + "\n        " + help + "\n";
    const auto argument = arguments_.extract(name);
    if (argument && argument.mapped() == nullptr)
        fail("--%s needs a value", name);
    return argument ? argument.mapped() : fallback;
}

bool Options::flag(const char *name, const char *help)
{
    help_ += "  --" + std::string(name) + "\n        " + help + "\n";
    const auto argument = arguments_.extract(name);
    if (argument && argument.mapped() != nullptr)
        fail("--%s takes no value, got '%s'", name, argument.mapped());
    return !argument.empty();
}

void Options::finish()
{
    if (arguments_.count("help") != 0) {
        std::fputs(help_.c_str(), stdout);
        std::exit(0);
    }
    if (!arguments_.empty())
        fail("no option --%s; see --help", arguments_.begin()->first.c_str());
}

JsonLine &JsonLine::member(const char *key, const std::string &value)
{
    text_ += (text_.empty() ? "{\"" : ", \"") + std::string(key) + "\": " + value;
    return *this;
}

JsonLine &JsonLine::add(const char *key, const char *value)
{
    return member(key, "\"" + std::string(value) + "\"");
}

JsonLine &JsonLine::add(const char *key, std::uint64_t value)
{
    return member(key, std::to_string(value));
}

JsonLine &JsonLine::add(const char *key, double value)
{
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.6g", value);
    return member(key, digits);
}

JsonLine &JsonLine::add_hex(const char *key, std::uint64_t value)
{
    char digits[20];
    std::snprintf(digits, sizeof digits, "%016" PRIx64, value);
    return add(key, digits);
}

void JsonLine::print()
{
    std::printf("%s}\n", text_.c_str());
    std::fflush(stdout);
}

} // namespace sailsim::kernels
