/* SPDX-License-Identifier: BSD-3-Clause
 *
 * NumPy arrays in and out of the core, and the parts of the module. nanobind refuses other types, numbers of
 * axes and orders; lengths are checked here, so that nothing Python passes can make the core read past an
 * array.
 */
#ifndef SAILSIM_BINDINGS_ARRAYS_HH
#define SAILSIM_BINDINGS_ARRAYS_HH

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include "pim/patterns.hh"

namespace sailsim::bindings
{

namespace nb = nanobind;
using namespace nb::literals;

void bind_timing(nb::module_ &m);
void bind_arithmetic(nb::module_ &m);
void bind_descriptor(nb::module_ &m);
void bind_schedule(nb::module_ &m);

inline void require_threads(int threads)
{
    pim::require_range("threads", threads, 1, 1024);
}

/* A C-contiguous array of exactly this type and number of axes: its argument is `given`. */
template <class T, std::size_t Axes>
using Array = nb::ndarray<const T, nb::ndim<Axes>, nb::c_contig, nb::device::cpu>;

/* An argument that is not converted on the way in. */
inline auto given(const char *name)
{
    return nb::arg(name).noconvert();
}

template <class Any>
std::int64_t length(const Any &array, std::size_t axis = 0)
{
    return static_cast<std::int64_t>(array.shape(axis));
}

template <class Any>
void require_shape(const char *name, const Any &array, std::initializer_list<std::int64_t> shape)
{
    std::size_t axis = 0;
    for (std::int64_t extent : shape) {
        if (length(array, axis) != extent)
            throw std::invalid_argument(std::string(name) + " has " + std::to_string(array.shape(axis)) +
                                        " elements along axis " + std::to_string(axis) + ": allowed are " +
                                        std::to_string(extent));
        ++axis;
    }
}

/* Integers of up to 16 bits, signed or not. */
using Words = nb::ndarray<nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

inline pim::Activations activations(const Words &x, int abits)
{
    const pim::Activations view{static_cast<const std::uint8_t *>(x.data()), length(x), length(x, 1), abits};
    const auto code = static_cast<nb::dlpack::dtype_code>(x.dtype().code);
    const bool is_integer = code == nb::dlpack::dtype_code::Int || code == nb::dlpack::dtype_code::UInt;
    if (!is_integer || static_cast<int>(x.itemsize()) != view.word_bytes())
        throw nb::type_error(
            "x has the wrong dtype: allowed are int8 and uint8, of more than 8 bits int16 and "
            "uint16");
    return view;
}

/* A new NumPy array that owns `values`. */
template <class T, std::size_t Dims>
using Result = nb::ndarray<nb::numpy, T, nb::ndim<Dims>>;

template <class T, std::size_t Dims>
Result<T, Dims> to_numpy(std::vector<T> values, const std::array<std::int64_t, Dims> &shape)
{
    std::size_t extents[Dims];
    std::copy(shape.begin(), shape.end(), extents);
    auto owned = std::make_unique<std::vector<T>>(std::move(values));
    T *data = owned->data();
    nb::capsule owner(owned.get(), [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
    owned.release();
    return Result<T, Dims>(data, Dims, extents, owner);
}

} // namespace sailsim::bindings

#endif
