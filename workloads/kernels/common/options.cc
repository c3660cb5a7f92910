/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/options.hh"

#include "common/fail.hh"

#include <cctype>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sailsim::kernels
{

Options::Options(int argc, char **argv, const char *summary) : program_(argv[0])
{
    help_ = std::string(summary) + "\n";
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

const std::string *Options::find(const char *name)
{
    for (Argument &argument : arguments_) {
        if (argument.name != name)
            continue;
        argument.used = true;
        if (!argument.has_value)
            fail("--%s needs a value", name);
        return &argument.value;
    }
    return nullptr;
}

void Options::describe(const char *name, const std::string &value, const char *help)
{
    help_ += "  --" + std::string(name) + " " + value + "\n        " + help + "\n";
}

std::uint64_t Options::number(const char *name, std::uint64_t fallback, std::uint64_t least,
                              std::uint64_t most, const char *help)
{
    describe(name, std::to_string(fallback), help);
    const std::string *value = find(name);
    if (value == nullptr)
        return fallback;
    char *end = nullptr;
    errno = 0;
    const unsigned long long number = std::strtoull(value->c_str(), &end, 0);
    const bool whole = std::isdigit(static_cast<unsigned char>((*value)[0])) && *end == '\0' && errno == 0;
    if (!whole || number < least || number > most)
        fail("--%s is '%s'; allowed: whole numbers %" PRIu64 "..%" PRIu64, name, value->c_str(), least, most);
    return number;
}

std::string Options::word(const char *name, const char *fallback, std::initializer_list<const char *> allowed,
                          const char *help)
{
    std::string words;
    for (const char *candidate : allowed)
        words += (words.empty() ? "" : "|") + std::string(candidate);
    describe(name, fallback, (std::string(help) + " (" + words + ")").c_str());
    const std::string *value = find(name);
    if (value == nullptr)
        return fallback;
    for (const char *candidate : allowed)
        if (*value == candidate)
            return *value;
    fail("--%s is '%s'; allowed: %s", name, value->c_str(), words.c_str());
}

std::string Options::text(const char *name, const char *fallback, const char *help)
{
    describe(name, fallback, help);
    const std::string *value = find(name);
    return value == nullptr ? fallback : *value;
}

bool Options::flag(const char *name, const char *help)
{
    help_ += "  --" + std::string(name) + "\n        " + help + "\n";
    for (Argument &argument : arguments_) {
        if (argument.name != name)
            continue;
        argument.used = true;
        if (argument.has_value)
            fail("--%s takes no value, got '%s'", name, argument.value.c_str());
        return true;
    }
    return false;
}

void Options::finish()
{
    if (wants_help_) {
        std::printf("usage: %s [options]\n%s", program_.c_str(), help_.c_str());
        std::exit(0);
    }
    for (const Argument &argument : arguments_)
        if (!argument.used)
            fail("no option --%s; see --help", argument.name.c_str());
}

} // namespace sailsim::kernels
