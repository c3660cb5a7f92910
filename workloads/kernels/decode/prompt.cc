/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/prompt.hh"

#include "common/fail.hh"

#include <cctype>
#include <cerrno>
#include <cstdlib>

namespace sailsim::kernels::decode
{

std::vector<std::uint32_t> read_prompt(const std::string &text, std::size_t batch, std::size_t vocab)
{
    std::vector<std::vector<std::uint32_t>> rows(1);
    for (const char *at = text.c_str();; ++at) {
        char *end = nullptr;
        errno = 0;
        const unsigned long long token = std::strtoull(at, &end, 10);
        const bool digits = std::isdigit(static_cast<unsigned char>(*at)) != 0 && errno == 0;
        if (!digits || (*end != ',' && *end != ';' && *end != '\0'))
            fail("--prompt is '%s'; allowed: token numbers such as 1,2,3, or rows of them such as 1,2;3,4",
                 text.c_str());
        if (token >= vocab)
            fail("--prompt has token %llu; allowed: 0..%zu", token, vocab - 1);
        rows.back().push_back(static_cast<std::uint32_t>(token));
        if (*end == '\0')
            break;
        if (*end == ';')
            rows.emplace_back();
        at = end;
    }
    if (rows.size() == 1)
        rows.resize(batch, rows[0]);
    if (rows.size() != batch)
        fail("--prompt has %zu rows; allowed: 1, or as many as --batch, %zu", rows.size(), batch);
    std::vector<std::uint32_t> tokens;
    for (std::size_t position = 0; position < rows[0].size(); ++position)
        for (const std::vector<std::uint32_t> &row : rows) {
            if (row.size() != rows[0].size())
                fail("--prompt has rows of %zu and %zu tokens; allowed: rows of one length", rows[0].size(),
                     row.size());
            tokens.push_back(row[position]);
        }
    return tokens;
}

std::string rows_of(const std::vector<std::uint32_t> &tokens, std::size_t batch)
{
    std::string text;
    for (std::size_t b = 0; b < batch; ++b)
        for (std::size_t i = b; i < tokens.size(); i += batch)
            text += (i != b ? "," : b > 0 ? ";" : "") + std::to_string(tokens[i]);
    return text;
}

} // namespace sailsim::kernels::decode
