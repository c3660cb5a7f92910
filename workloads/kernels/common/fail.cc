/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/fail.hh"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

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

} // namespace sailsim::kernels
