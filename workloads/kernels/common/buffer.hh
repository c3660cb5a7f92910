/* SPDX-License-Identifier: BSD-3-Clause */
// Zeroed, page-aligned memory straight from the kernel, so that large operands start on fresh pages.
#ifndef SAILSIM_KERNELS_COMMON_BUFFER_HH
#define SAILSIM_KERNELS_COMMON_BUFFER_HH

#include <cstddef>

namespace sailsim::kernels
{

class Buffer
{
  public:
    // Ends the program with one sentence when the memory cannot be had.
    explicit Buffer(std::size_t bytes);
    ~Buffer();
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;

    std::size_t size() const { return size_; }
    unsigned char *bytes() { return bytes_; }
    const unsigned char *bytes() const { return bytes_; }

    template <class T>
    T *as()
    {
        return reinterpret_cast<T *>(bytes_);
    }
    template <class T>
    const T *as() const
    {
        return reinterpret_cast<const T *>(bytes_);
    }

  private:
    std::size_t size_;
    unsigned char *bytes_;
};

} // namespace sailsim::kernels

#endif
