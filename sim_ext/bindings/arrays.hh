/* SPDX-License-Identifier: BSD-3-Clause
 *
 * NumPy arrays in and out of the core: arguments are checked here, with messages that name them, so that
 * nothing Python passes can make the core read past an array; and the parts of the module.
 */
#ifndef SAILSIM_BINDINGS_ARRAYS_HH
#define SAILSIM_BINDINGS_ARRAYS_HH

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
void bind_patterns(nb::module_ &m);
void bind_arithmetic(nb::module_ &m);
void bind_descriptor(nb::module_ &m);
void bind_schedule(nb::module_ &m);

inline void require_threads(int threads)
{
    pim::require_range("threads", threads, 1, 1024);
}

/* Any C-contiguous array in memory; others are copied on the way in. */
using Array = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

inline void require_ndim(const char *name, const Array &array, std::size_t ndim)
{
    if (array.ndim() != ndim)
        throw std::invalid_argument(std::string(name) + " has " + std::to_string(array.ndim()) +
                                    " dimensions: allowed are " + std::to_string(ndim));
}

inline void require_shape(const char *name, const Array &array, std::initializer_list<std::int64_t> shape)
{
    require_ndim(name, array, shape.size());
    std::size_t axis = 0;
    for (std::int64_t extent : shape) {
        if (static_cast<std::int64_t>(array.shape(axis)) != extent)
            throw std::invalid_argument(std::string(name) + " has " + std::to_string(array.shape(axis)) +
                                        " elements along axis " + std::to_string(axis) + ": allowed are " +
                                        std::to_string(extent));
        ++axis;
    }
}

inline void require_elements(const char *name, const Array &array)
{
    if (array.size() == 0)
        throw std::invalid_argument(std::string(name) + " is empty: it needs at least one element");
}

/* The elements of an array of exactly this type; else a TypeError that names the argument. */
template <class T>
const T *elements(const char *name, const Array &array, const char *allowed)
{
    if (array.dtype() != nb::dtype<T>())
        throw nb::type_error((std::string(name) + " has the wrong dtype: allowed is " + allowed).c_str());
    return static_cast<const T *>(array.data());
}

/* The bit patterns of an array of fp16. */
inline const std::uint16_t *halves(const char *name, const Array &array)
{
    constexpr nb::dlpack::dtype float16{static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float), 16, 1};
    if (array.dtype() != float16)
        throw nb::type_error((std::string(name) + " has the wrong dtype: allowed is float16").c_str());
    return static_cast<const std::uint16_t *>(array.data());
}

/* Calls use(view) with activations of whatever supported type the array has. */
template <class Use>
auto with_activations(const Array &x, int abits, bool is_signed, const Use &use)
{
    require_ndim("x", x, 2);
    require_elements("x", x);
    const auto view = [&](auto type) {
        using T = decltype(type);
        return pim::Activations<T>{static_cast<const T *>(x.data()), static_cast<std::int64_t>(x.shape(0)),
                                   static_cast<std::int64_t>(x.shape(1)), abits, is_signed};
    };
    const nb::dlpack::dtype type = x.dtype();
    if (type == nb::dtype<std::int8_t>())
        return use(view(std::int8_t{}));
    if (type == nb::dtype<std::uint8_t>())
        return use(view(std::uint8_t{}));
    if (type == nb::dtype<std::int16_t>())
        return use(view(std::int16_t{}));
    if (type == nb::dtype<std::uint16_t>())
        return use(view(std::uint16_t{}));
    if (type == nb::dtype<std::int32_t>())
        return use(view(std::int32_t{}));
    throw nb::type_error("x has the wrong dtype: allowed are int8, uint8, int16, uint16, int32");
}

/* A new NumPy array that owns `values`. */
template <class T, std::size_t Dims>
using Result = nb::ndarray<nb::numpy, T, nb::ndim<Dims>>;

template <class T, std::size_t Dims>
Result<T, Dims> to_numpy(std::vector<T> values, std::initializer_list<std::size_t> shape)
{
    auto owned = std::make_unique<std::vector<T>>(std::move(values));
    T *data = owned->data();
    nb::capsule owner(owned.get(), [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
    owned.release();
    return Result<T, Dims>(data, shape, owner);
}

} // namespace sailsim::bindings

#endif
