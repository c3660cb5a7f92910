/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/buffer.hh"

#include "common/fail.hh"

#include <sys/mman.h>

namespace sailsim::kernels
{

Buffer::Buffer(std::size_t bytes) : size_(bytes == 0 ? 1 : bytes), bytes_(nullptr)
{
    void *memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("cannot allocate %zu bytes", size_);
    bytes_ = static_cast<unsigned char *>(memory);
}

Buffer::~Buffer()
{
    munmap(bytes_, size_);
}

} // namespace sailsim::kernels
