/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/unit_text.hh"

#include <charconv>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

namespace sailsim::pim
{

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
    Number found = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), found);
    if (error != std::errc() || end != value.data() + value.size())
        refuse(key + " is " + quoted(value) + ": allowed are whole numbers of " +
               std::to_string(8 * sizeof(Number)) + " bits");
    return found;
}

bool truth(const std::string &key, std::string_view value)
{
    if (value != "true" && value != "false")
        refuse(key + " is " + quoted(value) + ": allowed are true, false");
    return value == "true";
}

Cost cost(const std::string &key, std::string_view value)
{
    std::array<std::int32_t, 3> coefficients{};
    std::string_view rest = value;
    for (std::int32_t &coefficient : coefficients) {
        if (rest.empty())
            refuse(key + " is " + quoted(value) + ": allowed are three coefficients, of 1, n and n^2");
        coefficient = number<std::int32_t>(key, cut(rest, ' '));
    }
    if (!rest.empty())
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
    std::vector<Step> found;
    std::string_view rest = value == "none" ? std::string_view() : value;
    if (value.empty() || value.back() == ',')
        refuse(key + " is " + quoted(value) + ": allowed are steps such as '2 read 1, 1 add entry', or none");
    while (!rest.empty()) {
        std::string_view step = cut(rest, ',');
        const Amount times = amount(key, cut(step, ' '));
        const Op op = op_of(std::string(cut(step, ' ')));
        found.push_back({times, op, amount(key, step)});
        if (!rest.empty() && rest.front() == ' ')
            rest.remove_prefix(1);
    }
    return found;
}

using Setter = std::function<void(SliceConfig &, const std::string &, std::string_view)>;

template <class Number>
Setter number_of(Number SliceConfig::*field)
{
    return [field](SliceConfig &unit, const std::string &key, std::string_view value) {
        unit.*field = number<Number>(key, value);
    };
}

Setter truth_of(bool SliceConfig::*field)
{
    return [field](SliceConfig &unit, const std::string &key, std::string_view value) {
        unit.*field = truth(key, value);
    };
}

/* What each key of the form sets. */
const std::map<std::string, Setter> &setters()
{
    using Key = const std::string &;
    using Value = std::string_view;
    static const std::map<std::string, Setter> table = [] {
        std::map<std::string, Setter> keys = {
            {"rows", number_of(&SliceConfig::rows)},
            {"cols", number_of(&SliceConfig::cols)},
            {"arrays", number_of(&SliceConfig::arrays)},
            {"slices", number_of(&SliceConfig::slices)},
            {"port_bytes", number_of(&SliceConfig::port_bytes)},
            {"weights_kib_cycles", number_of(&SliceConfig::weights_kib_cycles)},
            {"accumulator_bits", number_of(&SliceConfig::accumulator_bits)},
            {"prt_entries", number_of(&SliceConfig::prt_entries)},
            {"prt_policy", [](SliceConfig &u, Key, Value v) { u.policy = prt_policy(std::string(v)); }},
            {"t_zero", number_of(&SliceConfig::t_zero)},
            {"t_prt", number_of(&SliceConfig::t_prt)},
            {"double_buffer", truth_of(&SliceConfig::double_buffer)},
            {"activation_buffer_bits", number_of(&SliceConfig::activation_buffer_bits)},
            {"accumulator_buffer_bits", number_of(&SliceConfig::accumulator_buffer_bits)},
            {"dfms", number_of(&SliceConfig::dfms)},
            {"dfm_split", [](SliceConfig &u, Key, Value v) { u.dfm_split = dfm_split_of(std::string(v)); }},
            {"convert", [](SliceConfig &u, Key, Value v) { u.convert = convert_of(std::string(v)); }},
            {"convert_units", number_of(&SliceConfig::convert_units)},
            {"convert_latency", number_of(&SliceConfig::convert_latency)},
            {"convert_interval", number_of(&SliceConfig::convert_interval)},
            {"substrate", [](SliceConfig &u, Key, Value v) { u.substrate.name = v; }},
            {"layout", [](SliceConfig &u, Key, Value v) { u.substrate.layout = layout_of(std::string(v)); }},
            {"accumulate",
             [](SliceConfig &u, Key, Value v) { u.substrate.accumulate = accumulate_of(std::string(v)); }},
            {"prt_helps", [](SliceConfig &u, Key k, Value v) { u.substrate.prt_helps = truth(k, v); }},
        };
        for (Op op : all_ops)
            keys["cost." + std::string(op_name(op))] = [op](SliceConfig &u, Key k, Value v) {
                u.substrate.costs[static_cast<std::size_t>(op)] = cost(k, v);
            };
        for (Phase phase : all_phases)
            keys["phase." + std::string(phase_name(phase))] = [phase](SliceConfig &u, Key k, Value v) {
                u.substrate.phases[static_cast<std::size_t>(phase)] = steps(k, v);
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
