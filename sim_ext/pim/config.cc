/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/config.hh"

#include <charconv>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "pim/check.hh"
#include "pim/convert.hh"

namespace sailsim::pim
{

void SliceConfig::validate() const
{
    require_range("rows", rows, 1, 1 << 20);
    require_range("cols", cols, 1, 1 << 20);
    require_range("arrays", arrays, 1, 1 << 20);
    require_range("slices", slices, 1, 1 << 20);
    require_range("port_bytes", port_bytes, 1, 1 << 20);
    require_range("weights_kib_cycles", weights_kib_cycles, 0, 1 << 30);
    require_range("accumulator_bits", accumulator_bits, min_convert_bits, max_convert_bits);
    require_range("activation_buffer_bits", activation_buffer_bits, 1, std::int64_t{1} << 40);
    require_range("accumulator_buffer_bits", accumulator_buffer_bits, 1, std::int64_t{1} << 40);
    require_range("dfms", dfms, 1, arrays);
    if (arrays % dfms != 0)
        throw std::invalid_argument("dfms is " + std::to_string(dfms) +
                                    ": allowed are divisors of arrays, which is " + std::to_string(arrays));
    require_range("prt_entries", prt_entries, 0, 1 << 20);
    require_range("t_zero", t_zero, 0, 1 << 20);
    require_range("t_prt", t_prt, 0, 1 << 20);
    require_range("convert_units", convert_units, 1, 1 << 20);
    require_range("convert_latency", convert_latency, 1, 1 << 20);
    require_range("convert_interval", convert_interval, 1, convert_latency);
    substrate.validate();
    if (convert == Convert::unit && substrate.accumulate == Accumulate::in_array)
        throw std::invalid_argument("convert is unit: allowed with sums in the array, as on substrate " +
                                    substrate.name + ", are memory, cores");
}

namespace
{

constexpr std::string_view title = "sailsim-unit";

[[noreturn]] void refuse(const std::string &why)
{
    throw std::invalid_argument("unit text: " + why);
}

std::string quoted(std::string_view text)
{
    return "'" + std::string(text) + "'";
}

/* Cuts the part before the first `end` off, or all. */
std::string_view cut(std::string_view &text, char end)
{
    const std::size_t at = text.find(end);
    const std::string_view part = text.substr(0, at);
    text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
    return part;
}

template <class Number>
Number number(const std::string &key, std::string_view value)
{
    Number parsed = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (error != std::errc() || end != value.data() + value.size())
        refuse(key + " is " + quoted(value) + ": allowed are whole numbers of " +
               std::to_string(8 * sizeof(Number)) + " bits");
    return parsed;
}

bool truth(const std::string &key, std::string_view value)
{
    if (value != "true" && value != "false")
        refuse(key + " is " + quoted(value) + ": allowed are true, false");
    return value == "true";
}

Cost cost(const std::string &key, std::string_view value)
{
    std::vector<std::int32_t> coefficients;
    for (std::string_view rest = value; !rest.empty() && coefficients.size() < 4;)
        coefficients.push_back(number<std::int32_t>(key, cut(rest, ' ')));
    if (coefficients.size() != 3)
        refuse(key + " is " + quoted(value) + ": allowed are three coefficients, of 1, n and n^2");
    return {coefficients[0], coefficients[1], coefficients[2]};
}

Amount amount(const std::string &key, std::string_view value)
{
    if (value == "weight")
        return {Width::weight, 0};
    if (value == "entry")
        return {Width::entry, 0};
    if (value == "accumulator")
        return {Width::accumulator, 0};
    return {Width::number, number<std::int32_t>(key, value)};
}

/* "2 read 1, 1 add entry": steps of how often, which operation, on how many bits. "none" has no step. */
std::vector<Step> steps(const std::string &key, std::string_view value)
{
    std::vector<Step> phase;
    std::string_view rest = value == "none" ? std::string_view() : value;
    if (value.empty() || value.back() == ',')
        refuse(key + " is " + quoted(value) + ": allowed are steps such as '2 read 1, 1 add entry', or none");
    while (!rest.empty()) {
        std::string_view step = cut(rest, ',');
        const Amount times = amount(key, cut(step, ' '));
        const Op op = ops.value(cut(step, ' '));
        phase.push_back({times, op, amount(key, step)});
        if (!rest.empty() && rest.front() == ' ')
            rest.remove_prefix(1);
    }
    return phase;
}

using Setter = std::function<void(SliceConfig &, const std::string &, std::string_view)>;

template <class Number>
Setter of(Number SliceConfig::*field)
{
    return [field](SliceConfig &unit, const std::string &key, std::string_view value) {
        if constexpr (std::is_same_v<Number, bool>)
            unit.*field = truth(key, value);
        else
            unit.*field = number<Number>(key, value);
    };
}

template <class Enum, std::size_t Count>
Setter of(Enum SliceConfig::*field, const Words<Enum, Count> &words)
{
    return [field, &words](SliceConfig &unit, const std::string &, std::string_view value) {
        unit.*field = words.value(value);
    };
}

/* What each key of the form sets. */
const std::map<std::string, Setter> &setters()
{
    using Key = const std::string &;
    using Value = std::string_view;
    static const std::map<std::string, Setter> table = [] {
        std::map<std::string, Setter> keys = {
            {"rows", of(&SliceConfig::rows)},
            {"cols", of(&SliceConfig::cols)},
            {"arrays", of(&SliceConfig::arrays)},
            {"slices", of(&SliceConfig::slices)},
            {"port_bytes", of(&SliceConfig::port_bytes)},
            {"weights_kib_cycles", of(&SliceConfig::weights_kib_cycles)},
            {"accumulator_bits", of(&SliceConfig::accumulator_bits)},
            {"prt_entries", of(&SliceConfig::prt_entries)},
            {"prt_policy", of(&SliceConfig::policy, prt_policies)},
            {"t_zero", of(&SliceConfig::t_zero)},
            {"t_prt", of(&SliceConfig::t_prt)},
            {"double_buffer", of(&SliceConfig::double_buffer)},
            {"activation_buffer_bits", of(&SliceConfig::activation_buffer_bits)},
            {"accumulator_buffer_bits", of(&SliceConfig::accumulator_buffer_bits)},
            {"dfms", of(&SliceConfig::dfms)},
            {"dfm_split", of(&SliceConfig::dfm_split, dfm_splits)},
            {"convert", of(&SliceConfig::convert, converts)},
            {"convert_units", of(&SliceConfig::convert_units)},
            {"convert_latency", of(&SliceConfig::convert_latency)},
            {"convert_interval", of(&SliceConfig::convert_interval)},
            {"substrate", [](SliceConfig &u, Key, Value v) { u.substrate.name = v; }},
            {"layout", [](SliceConfig &u, Key, Value v) { u.substrate.layout = layouts.value(v); }},
            {"accumulate",
             [](SliceConfig &u, Key, Value v) { u.substrate.accumulate = accumulates.value(v); }},
            {"prt_helps", [](SliceConfig &u, Key k, Value v) { u.substrate.prt_helps = truth(k, v); }},
        };
        for (std::size_t op = 0; op < op_count; ++op)
            keys["cost." + std::string(ops.words[op])] = [op](SliceConfig &u, Key k, Value v) {
                u.substrate.costs[op] = cost(k, v);
            };
        for (std::size_t phase = 0; phase < phase_count; ++phase)
            keys["phase." + std::string(phase_words.words[phase])] = [phase](SliceConfig &u, Key k, Value v) {
                u.substrate.phases[phase] = steps(k, v);
            };
        return keys;
    }();
    return table;
}

void check_version(std::string_view line)
{
    const std::string_view whole = line;
    if (cut(line, ' ') != title)
        refuse("the first line is " + quoted(whole) + ": allowed is '" + std::string(title) + " " +
               std::to_string(unit_text_version) + "'");
    const int version = number<int>("version", line);
    if (version != unit_text_version)
        refuse("version is " + std::to_string(version) + ": allowed is " + std::to_string(unit_text_version));
}

} // namespace

SliceConfig read_unit(std::string_view text)
{
    check_version(cut(text, '\n'));
    SliceConfig unit;
    std::set<std::string> seen;
    while (!text.empty()) {
        std::string_view value = cut(text, '\n');
        const std::string key(cut(value, ' '));
        const auto setter = setters().find(key);
        if (setter == setters().end())
            refuse(quoted(key) + " is no key of version " + std::to_string(unit_text_version));
        if (!seen.insert(key).second)
            refuse(key + " is there twice: allowed is once");
        setter->second(unit, key, value);
    }
    for (const auto &[key, setter] : setters())
        if (seen.count(key) == 0)
            refuse(key + " is missing: every key is needed");
    unit.validate();
    return unit;
}

} // namespace sailsim::pim
