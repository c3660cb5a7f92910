/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/config.hh"

#include <charconv>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "pim/check.hh"

namespace sailsim::pim
{

const std::array<UnitNumber, 16> unit_numbers{{
    {"rows", &SliceConfig::rows, 1},
    {"cols", &SliceConfig::cols, 1},
    {"arrays", &SliceConfig::arrays, 1},
    {"slices", &SliceConfig::slices, 1},
    {"port_bytes", &SliceConfig::port_bytes, 1},
    {"weights_kib_cycles", &SliceConfig::weights_kib_cycles, 0, 1 << 30},
    {"accumulator_bits", &SliceConfig::accumulator_bits, min_convert_bits, max_convert_bits},
    {"activation_buffer_bits", &SliceConfig::activation_buffer_bits, 1, std::int64_t{1} << 40},
    {"accumulator_buffer_bits", &SliceConfig::accumulator_buffer_bits, 1, std::int64_t{1} << 40},
    {"dfms", &SliceConfig::dfms, 1},
    {"prt_entries", &SliceConfig::prt_entries},
    {"t_zero", &SliceConfig::t_zero},
    {"t_prt", &SliceConfig::t_prt},
    {"convert_units", &SliceConfig::convert_units, 1},
    {"convert_latency", &SliceConfig::convert_latency, 1},
    {"convert_interval", &SliceConfig::convert_interval, 1},
}};

void SliceConfig::validate() const
{
    for (const UnitNumber &number : unit_numbers)
        require_range(number.key, this->*number.field, number.least, number.most);
    require_range("dfms", dfms, 1, arrays);
    if (arrays % dfms != 0)
        throw std::invalid_argument("dfms is " + std::to_string(dfms) +
                                    ": allowed are divisors of arrays, which is " + std::to_string(arrays));
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
    for (std::size_t width = 0; width < width_words.size(); ++width)
        if (value == width_words[width])
            return {static_cast<Width>(width), 0};
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

/* What each key sets from a value. */
using Setter = std::function<void(const std::string &, std::string_view)>;

std::map<std::string, Setter> setters_of(SliceConfig &unit)
{
    std::map<std::string, Setter> keys;
    const auto parsed = [](auto &field, auto parse) {
        return [&field, parse](const std::string &key, std::string_view value) { field = parse(key, value); };
    };
    const auto word = [](auto &field, const auto &words) {
        return [&field, &words](const std::string &, std::string_view value) { field = words.value(value); };
    };
    for (const UnitNumber &each : unit_numbers)
        keys[each.key] = parsed(unit.*each.field, number<std::int64_t>);
    Substrate &substrate = unit.substrate;
    keys["double_buffer"] = parsed(unit.double_buffer, truth);
    keys["prt_policy"] = word(unit.policy, prt_policies);
    keys["dfm_split"] = word(unit.dfm_split, dfm_splits);
    keys["convert"] = word(unit.convert, converts);
    keys["substrate"] = [&substrate](const std::string &, std::string_view value) { substrate.name = value; };
    keys["layout"] = word(substrate.layout, layouts);
    keys["accumulate"] = word(substrate.accumulate, accumulates);
    keys["prt_helps"] = parsed(substrate.prt_helps, truth);
    for (std::size_t op = 0; op < op_count; ++op)
        keys[std::string("cost.") + ops.words[op]] = parsed(substrate.costs[op], cost);
    for (std::size_t phase = 0; phase < phase_count; ++phase)
        keys[std::string("phase.") + phase_words.words[phase]] = parsed(substrate.phases[phase], steps);
    return keys;
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
    std::map<std::string, Setter> setters = setters_of(unit);
    std::set<std::string> seen;
    while (!text.empty()) {
        std::string_view value = cut(text, '\n');
        const std::string key(cut(value, ' '));
        if (!seen.insert(key).second)
            refuse(key + " is there twice: allowed is once");
        const auto setter = setters.find(key);
        if (setter == setters.end())
            refuse(quoted(key) + " is no key of version " + std::to_string(unit_text_version));
        setter->second(key, value);
    }
    for (const auto &[key, setter] : setters)
        if (seen.count(key) == 0)
            refuse(key + " is missing: every key is needed");
    unit.validate();
    return unit;
}

} // namespace sailsim::pim
