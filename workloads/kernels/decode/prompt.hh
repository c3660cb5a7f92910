/* SPDX-License-Identifier: BSD-3-Clause */
// Token numbers as text: what a decode begins with, and what it gives.
#ifndef SAILSIM_KERNELS_DECODE_PROMPT_HH
#define SAILSIM_KERNELS_DECODE_PROMPT_HH

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sailsim::kernels::decode
{

// Tokens (positions, batch) of "1,2,3", the same for all rows, or of "1,2;3,4", one part a row. Ends the
// program with one sentence for what is neither, for rows of different lengths and for tokens outside the
// vocabulary.
std::vector<std::uint32_t> read_prompt(const std::string &text, std::size_t batch, std::size_t vocab);

// Tokens (steps, batch) in the same form, a part for each row.
std::string rows_of(const std::vector<std::uint32_t> &tokens, std::size_t batch);

} // namespace sailsim::kernels::decode

#endif
