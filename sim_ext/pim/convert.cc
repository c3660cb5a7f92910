/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/convert.hh"

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "pim/check.hh"

namespace sailsim::pim
{

namespace
{

using Register = std::vector<std::uint64_t>;

std::uint64_t ones(int n)
{
    return n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
}

/* Executes row operations on all lanes and tallies them. Every result is cut to the n bits it is charged for.
 */
class LaneMachine
{
  public:
    explicit LaneMachine(std::size_t lanes) : count(lanes), latch(lanes) {}

    const Tally &tally() const { return used; }

    /* A resident row of constants: costs nothing. */
    Register row(std::uint64_t value) const { return Register(count, value); }

    Register copy(int n, const Register &from)
    {
        used.count(Op::copy, n);
        return map([=](std::uint64_t v) { return v & ones(n); }, from);
    }

    Register broadcast(int n, const Register &from, int bit)
    {
        used.count(Op::copy, n);
        return map([=](std::uint64_t v) { return v >> bit & 1 ? ones(n) : 0; }, from);
    }

    Register broadcast_not(int n, const Register &from, int bit)
    {
        used.count(Op::copy, n);
        return map([=](std::uint64_t v) { return v >> bit & 1 ? 0 : ones(n); }, from);
    }

    template <class Function>
    Register logic(int n, const Register &x, const Register &y, Function function)
    {
        used.count(Op::logic, n);
        return map([=](std::uint64_t a, std::uint64_t b) { return function(a, b) & ones(n); }, x, y);
    }
    Register bit_and(int n, const Register &x, const Register &y)
    {
        return logic(n, x, y, [](std::uint64_t a, std::uint64_t b) { return a & b; });
    }
    Register bit_or(int n, const Register &x, const Register &y)
    {
        return logic(n, x, y, [](std::uint64_t a, std::uint64_t b) { return a | b; });
    }
    Register bit_xor(int n, const Register &x, const Register &y)
    {
        return logic(n, x, y, [](std::uint64_t a, std::uint64_t b) { return a ^ b; });
    }

    /* y where the mask is ones, else x: three logic operations. */
    Register select(int n, const Register &mask, const Register &y, const Register &x)
    {
        Register t = bit_xor(n, y, x);
        t = bit_and(n, t, mask);
        return bit_xor(n, x, t);
    }

    Register shift_left(int n, const Register &x, int distance)
    {
        used.count(Op::shift, distance);
        return map([=](std::uint64_t v) { return v << distance & ones(n); }, x);
    }
    Register shift_right(const Register &x, int distance)
    {
        used.count(Op::shift, distance);
        return map([=](std::uint64_t v) { return v >> distance; }, x);
    }
    /* The carry of the last sum enters above the n bits of x. */
    Register shift_right_with_carry(int n, const Register &x, int distance)
    {
        used.count(Op::shift, distance);
        return map([=](std::uint64_t v, std::uint64_t c) { return (v | c << n) >> distance; }, x, latch);
    }

    /* Sum of n bits plus bit 0 of `carry_in`; the carry-out goes into the latch. */
    Register add(int n, const Register &x, const Register &y, const Register &carry_in)
    {
        used.count(Op::add, n);
        Register sum(count);
        for (std::size_t i = 0; i < count; ++i) {
            sum[i] = (x[i] & ones(n)) + (y[i] & ones(n)) + (carry_in[i] & 1);
            latch[i] = sum[i] >> n & 1;
            sum[i] &= ones(n);
        }
        return sum;
    }

    /* x - y as x + ~y + 1: a carry-out of 0 means x < y. */
    Register subtract(int n, const Register &x, const Register &y)
    {
        return add(n, x, map([](std::uint64_t v) { return ~v; }, y), row(1));
    }

    /* The carry-out of the last sum. */
    const Register &carry() const { return latch; }

  private:
    template <class Function>
    Register map(Function function, const Register &x) const
    {
        Register out(count);
        for (std::size_t i = 0; i < count; ++i)
            out[i] = function(x[i]);
        return out;
    }
    template <class Function>
    Register map(Function function, const Register &x, const Register &y) const
    {
        Register out(count);
        for (std::size_t i = 0; i < count; ++i)
            out[i] = function(x[i], y[i]);
        return out;
    }

    std::size_t count;
    Register latch;
    Tally used;
};

/* The steps of int_to_fp32(a) in docs/contract.md, by number. `v` and the result are bit patterns. */
Register int_to_fp32_program(LaneMachine &m, const Register &v, int a)
{
    const Register s = m.broadcast(a, v, a - 1);                        /* 1 */
    Register w = m.bit_xor(a, v, s);                                    /* 2 */
    w = m.add(a, w, m.row(0), s);                                       /* 3 */
    Register e = m.copy(8, m.row(static_cast<std::uint64_t>(125 + a))); /* 4 */

    int widest = 1;
    while (2 * widest < a)
        widest *= 2;
    for (int d = widest; d >= 1; d /= 2) { /* 5 */
        m.subtract(a, w, m.row(std::uint64_t{1} << (a - d)));
        const Register low = m.broadcast_not(a, m.carry(), 0);
        w = m.select(a, low, m.shift_left(a, w, d), w);
        e = m.subtract(8, e, m.bit_and(8, low, m.row(static_cast<std::uint64_t>(d))));
    }

    const Register z = m.broadcast(32, w, a - 1); /* 6 */
    if (a < 24) {                                 /* 7 */
        w = m.shift_left(24, w, 24 - a);
    } else if (a > 24) {
        const int r = a - 24;
        const Register units = m.shift_right(w, r);
        w = m.add(a, w, m.row(ones(r - 1)), units);
        w = m.shift_right_with_carry(a, w, r);
    }
    Register f = m.add(32, m.shift_left(32, e, 23), w, m.row(0)); /* 8, 9 */
    f = m.bit_and(32, f, z);                                      /* 10 */
    return m.bit_or(32, f, m.shift_left(32, s, 31));              /* 11, 12 */
}

} // namespace

std::int64_t Tally::cycles(const Substrate &substrate) const
{
    std::int64_t sum = 0;
    for (const auto &[operation, times] : counts)
        sum += times * substrate.cycles(operation.first, operation.second);
    return sum;
}

Tally int_to_fp32(const std::int64_t *values, std::size_t lanes, int bits, float *out)
{
    require_range("bits", bits, min_convert_bits, max_convert_bits);
    const std::int64_t limit = std::int64_t{1} << (bits - 1);
    Register v(lanes);
    for (std::size_t i = 0; i < lanes; ++i) {
        require_range("value", values[i], -limit, limit - 1);
        v[i] = static_cast<std::uint64_t>(values[i]) & ones(bits);
    }
    LaneMachine machine(lanes);
    const Register f = int_to_fp32_program(machine, v, bits);
    for (std::size_t i = 0; i < lanes; ++i) {
        const auto pattern = static_cast<std::uint32_t>(f[i]);
        std::memcpy(&out[i], &pattern, sizeof pattern);
    }
    return machine.tally();
}

Tally int_to_fp32_tally(int bits)
{
    const std::int64_t value = 0;
    float out;
    return int_to_fp32(&value, 1, bits, &out);
}

} // namespace sailsim::pim
