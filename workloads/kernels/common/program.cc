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
        const char *word = argv[i];
        if (std::strncmp(word, "--", 2) != 0)
            fail("unexpected argument '%s'; options are --name value", word);
        if (std::strcmp(word, "--help") == 0) {
            wants_help_ = true;
            continue;
        }
        const bool has_value = i + 1 < argc && std::strncmp(argv[i + 1], "--", 2) != 0;
        arguments_.push_back({word + 2, has_value ? argv[i + 1] : "", has_value, false});
        i += has_value ? 1 : 0;
    }
}

Options::Argument *Options::find(const char *name)
{
    for (Argument &argument : arguments_)
        if (argument.name == name) {
            argument.used = true;
            return &argument;
        }
    return nullptr;
}

const std::string *Options::find_value(const char *name)
{
    const Argument *argument = find(name);
    if (argument != nullptr && !argument->has_value)
        fail("--%s needs a value", name);
    return argument == nullptr ? nullptr : &argument->value;
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
    const std::string *value = find_value(name);
    return value == nullptr ? fallback : *value;
}

bool Options::flag(const char *name, const char *help)
{
    help_ += "  --" + std::string(name) + "\n        " + help + "\n";
    const Argument *argument = find(name);
    if (argument != nullptr && argument->has_value)
        fail("--%s takes no value, got '%s'", name, argument->value.c_str());
    return argument != nullptr;
}

void Options::finish()
{
    if (wants_help_) {
        std::fputs(help_.c_str(), stdout);
        std::exit(0);
    }
    for (const Argument &argument : arguments_)
        if (!argument.used)
            fail("no option --%s; see --help", argument.name.c_str());
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
