/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/schedule.hh"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

namespace sailsim::pim
{

namespace
{

constexpr double inf = std::numeric_limits<double>::infinity();

/* Mean wait of a line behind those of others that take `load` (0..1) of the peak: batches of fixed work. */
double waiting(double queue, double load)
{
    return queue * load / (2 * (1 - std::min(load, 0.999)));
}

/* Every demand is met or gets an equal share of what the smaller ones leave. */
std::vector<double> max_min(double capacity, const std::vector<double> &demands)
{
    std::vector<std::size_t> order(demands.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return demands[a] < demands[b]; });
    std::vector<double> shared(demands.size());
    auto waiting = static_cast<double>(demands.size());
    for (const std::size_t i : order) {
        shared[i] = std::min(demands[i], capacity / waiting--);
        capacity -= shared[i];
    }
    return shared;
}

/* What readers get whose lines wait so long, or all as long as it takes for the capacity to suffice. */
std::vector<double> crowded(double capacity, const std::vector<Reader> &readers,
                            const std::vector<double> &waits)
{
    std::vector<double> rates(readers.size());
    const auto fits = [&](double least) {
        for (std::size_t i = 0; i < readers.size(); ++i)
            rates[i] = readers[i].rate(std::max(waits[i], least));
        return std::accumulate(rates.begin(), rates.end(), 0.0) <= capacity;
    };
    if (fits(0))
        return rates;
    double low = 0, high = 0;
    for (const Reader &reader : readers)
        high += reader.window;
    high /= capacity;
    for (int i = 0; i < 60; ++i) {
        const double least = (low + high) / 2;
        (fits(least) ? high : low) = least;
    }
    fits(high);
    return rates;
}

/* Seconds that a line of one reader waits behind bursts, of others and of the reader's other parts. */
double behind_bursts(double capacity, const std::vector<Reader> &readers, const std::vector<double> &rates,
                     std::size_t place, double open_load)
{
    const double own = rates[place] * (1 - 1 / static_cast<double>(readers[place].parts)) / capacity;
    double load = 0, work = 0;
    for (std::size_t i = 0; i < readers.size(); ++i) {
        const double takes = i == place ? own : rates[i] / capacity;
        load += readers[i].even ? 0 : takes;
        work += takes * readers[i].queue;
    }
    const double most = std::max(open_load, own); /* by itself a reader waits for its parts as alone */
    return work / (2 * (1 - std::min({load, most, 0.999})));
}

} // namespace

double Reader::rate(double wait) const
{
    const double time = latency + wait;
    return time > 0 ? std::min(demand, window / time) : demand;
}

double alone(double capacity, const Reader &reader, double load)
{
    const double most = std::max(0.0, std::min(reader.rate(0), capacity - load));
    const double others = 1 - 1 / static_cast<double>(reader.parts);
    if (reader.queue == 0 || (load == 0 && others == 0))
        return most;
    double low = 0;
    double high = most; /* its rate falls as what it takes grows, so there is one that fits */
    for (int i = 0; i < 50; ++i) {
        const double rate = (low + high) / 2;
        const bool fits = reader.rate(waiting(reader.queue, (load + others * rate) / capacity)) >= rate;
        (fits ? low : high) = rate;
    }
    return high == most ? high : low;
}

std::vector<double> shares(double capacity, const std::vector<Reader> &readers, double open_load)
{
    std::vector<double> rates;
    bool bounded = true;
    for (const Reader &reader : readers) {
        rates.push_back(reader.rate(0));
        bounded = bounded && reader.window != inf;
    }
    if (!bounded)
        return max_min(capacity, rates);
    if (std::count_if(rates.begin(), rates.end(), [](double rate) { return rate > 0; }) == 1) {
        for (std::size_t i = 0; i < readers.size(); ++i)
            rates[i] = readers[i].demand > 0 ? alone(capacity, readers[i]) : 0;
        return rates;
    }
    std::vector<double> waits(readers.size());
    rates = crowded(capacity, readers, waits);
    double part = 0.5;
    double last = inf;
    for (int again = 0; again < 100; ++again) {
        for (std::size_t i = 0; i < readers.size(); ++i)
            waits[i] = behind_bursts(capacity, readers, rates, i, open_load);
        const std::vector<double> now = crowded(capacity, readers, waits);
        double step = 0;
        for (std::size_t i = 0; i < readers.size(); ++i)
            step = std::max(step, std::abs(now[i] - rates[i]));
        if (step <= 1e-9 * capacity)
            break;
        if (step >= last)
            part /= 2; /* not to and fro for ever */
        last = step;
        for (std::size_t i = 0; i < readers.size(); ++i)
            rates[i] += part * (now[i] - rates[i]);
    }
    return rates;
}

namespace
{

/* What goes on between two events. Speeds are shares of a task or tensor a second. */
struct Now {
    const CoreTask *task = nullptr;         /* that the cores work on */
    const StreamedTensor *tensor = nullptr; /* that the PIM units work on */
    bool in_step = false;                   /* its own weights are still coming */
    bool starved = false;                   /* and none of them waits on chip */
    double task_speed = inf;
    double task_cost = 0;  /* bytes of the DRAM peak that the task occupies */
    double full_speed = 0; /* of the tensor with its weights on chip */
    double tensor_speed = 0;
    double used = 0; /* bytes/s that the tensor takes out of the buffer */
    double rate = 0; /* bytes/s of the weight stream */
    /* Seconds from here. */
    double task_end = inf;
    double tensor_end = inf;
    double stream_end = inf;
    double empty = inf;
    double full = inf;
    double step = inf; /* the least of them */
};

/* A schedule on its way. */
class Play
{
  public:
    Play(const ScheduleMachine &machine_, const std::vector<CoreTask> &tasks_,
         const std::vector<StreamedTensor> &tensors_, const Throttled &throttled_)
        : machine(machine_), tasks(tasks_), tensors(tensors_), throttled(throttled_),
          ahead(machine_.depth > 0 && machine_.buffer > 0)
    {
        line.stalled.resize(tensors.size());
        skip_without_bytes();
    }

    bool over() const { return task == tasks.size() && tensor == tensors.size(); }

    void to_next_event()
    {
        Now now = who_works();
        who_asks(now);
        share_dram(now);
        next_event(now);
        move_on(now);
        settle(now);
    }

    ScheduleTimeline line;

  private:
    Now who_works() const
    {
        Now now;
        if (task < tasks.size() && static_cast<std::size_t>(tasks[task].needs) <= tensor)
            now.task = &tasks[task];
        if (tensor < tensors.size() && static_cast<std::size_t>(tensors[tensor].needs) <= task)
            now.tensor = &tensors[tensor];
        if (!now.task && !now.tensor)
            throw std::runtime_error("core task " + std::to_string(task) + " and tensor " +
                                     std::to_string(tensor) + " wait for each other");
        now.in_step = now.tensor && stream == tensor;
        now.starved = now.in_step && waiting <= 0;
        return now;
    }

    void who_asks(Now &now) const
    {
        if (now.task) {
            if (now.task->seconds > 0)
                now.task_speed = 1 / now.task->seconds;
            const double moved = now.task->read + now.task->written;
            if (moved > 0) {
                now.task_speed = std::min(now.task_speed, now.task->rate / moved);
                now.task_cost = now.task->read / machine.read_share + now.task->written / machine.write_share;
            }
        }
        if (now.tensor) {
            now.tensor_speed = now.full_speed = 1 / now.tensor->seconds;
            now.used = now.tensor->bytes * now.tensor_speed;
        }
        now.rate = stream_asks(now);
    }

    /* Weights are asked for only for the running tensor, or ahead of it while there is room. */
    double stream_asks(const Now &now) const
    {
        if (stream == tensors.size())
            return 0;
        const bool early = ahead && stream <= tensor + static_cast<std::size_t>(machine.depth);
        if (!now.in_step && !early)
            return 0;
        if (ahead && waiting >= machine.buffer)
            return std::min(machine.stream_limit, now.used);
        return machine.stream_limit;
    }

    void share_dram(Now &now)
    {
        const double demand = now.task_cost > 0 ? now.task_speed * now.task_cost : 0;
        const auto [core_part, stream_part] =
            divide(demand, now.rate / machine.read_share, machine.background && !now.in_step);
        if (now.task_cost > 0)
            now.task_speed = std::min(now.task_speed, core_part / now.task_cost);
        now.rate = stream_part * machine.read_share;
        if (now.starved) {
            const double size = now.tensor->bytes;
            if (ahead) {
                now.tensor_speed = std::min(now.tensor_speed, now.rate / size);
            } else {
                now.tensor_speed = 1 / throttled(now.tensor->tile, now.rate);
                now.rate = size * now.tensor_speed;
            }
            now.used = size * now.tensor_speed;
        }
    }

    /* A reader that asks for so much of the peak. */
    Reader asking(Reader reader, double demand) const
    {
        reader.demand = demand;
        reader.window /= machine.read_share;
        return reader;
    }

    /* What cores and weight stream get; the same few demands come again in every block. */
    std::pair<double, double> divide(double work, double weights, bool give_way)
    {
        const auto [known, is_new] = divided.try_emplace({work, weights, give_way});
        if (is_new) {
            const Reader stream_reader = asking(machine.stream, weights);
            const Reader core_reader = asking(machine.cores, work);
            if (!give_way) {
                const auto parts = shares(machine.peak, {core_reader, stream_reader}, machine.open_load);
                known->second = {parts[0], parts[1]};
            } else {
                const double part = std::min(work, machine.peak);
                known->second = {part, weights > 0 ? alone(machine.peak, stream_reader, part) : 0};
            }
        }
        return known->second;
    }

    void next_event(Now &now) const
    {
        if (now.task)
            now.task_end = (1 - task_done) / now.task_speed;
        if (now.tensor)
            now.tensor_end = (1 - tensor_done) / now.tensor_speed;
        if (now.rate > 0)
            now.stream_end = (tensors[stream].bytes - streamed) / now.rate;
        if (now.in_step && !now.starved && now.used > now.rate)
            now.empty = waiting / (now.used - now.rate);
        if (now.rate > now.used && waiting < machine.buffer)
            now.full = (machine.buffer - waiting) / (now.rate - now.used);
        now.step = std::min({now.task_end, now.tensor_end, now.stream_end, now.empty, now.full});
    }

    void move_on(const Now &now)
    {
        const double step = now.step;
        line.end += step;
        ++line.events;
        if (now.tensor) {
            tensor_done += step * now.tensor_speed;
            /* The share of its speed that it lacks: exactly 0 at full speed. */
            line.stalled[tensor] += step * (1 - now.tensor_speed / now.full_speed);
        } else {
            (now.task->sync ? line.sync : line.cores) += step;
        }
        if (now.task) {
            const double progress = step > 0 ? step * now.task_speed : 0;
            task_done += progress;
            line.read += progress * now.task->read;
            line.written += progress * now.task->written;
        }
        line.streamed += now.rate * step;
        streamed += now.rate * step;
        waiting = std::max(0.0, waiting + (now.rate - now.used) * step);
    }

    void settle(const Now &now)
    {
        const double due = now.step * (1 + 1e-12);
        if (now.empty <= due)
            waiting = 0;
        if (now.full <= due)
            waiting = machine.buffer;
        if (now.stream_end <= due)
            next_stream();
        if (now.tensor_end <= due) {
            if (stream == tensor) /* both end here, up to rounding */
                next_stream();
            ++tensor;
            tensor_done = 0;
            if (stream == tensor && streamed == 0)
                waiting = 0;
        }
        if (now.task_end <= due) {
            ++task;
            task_done = 0;
        }
    }

    void next_stream()
    {
        ++stream;
        streamed = 0;
        skip_without_bytes();
    }

    /* Tensors whose weights do not lie in DRAM are none of the stream's. */
    void skip_without_bytes()
    {
        while (stream < tensors.size() && tensors[stream].bytes == 0)
            ++stream;
    }

    const ScheduleMachine &machine;
    const std::vector<CoreTask> &tasks;
    const std::vector<StreamedTensor> &tensors;
    const Throttled &throttled;
    const bool ahead;

    /* The next or running one of each actor. */
    std::size_t task = 0;
    std::size_t tensor = 0;
    std::size_t stream = 0;
    double task_done = 0; /* shares of the running ones */
    double tensor_done = 0;
    double streamed = 0; /* bytes of tensor `stream` that have come */
    double waiting = 0;  /* bytes that have come and that no slice has used yet */

    std::map<std::tuple<double, double, bool>, std::pair<double, double>> divided;
};

/* What would make the schedule stand still. */
void require(const char *name, double value, bool positive)
{
    if (!(positive ? value > 0 : value >= 0))
        throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + ": allowed are " +
                                    (positive ? "positive numbers" : "numbers from 0 on"));
}

void validate(const ScheduleMachine &machine, const std::vector<Segment> &segments)
{
    require("peak", machine.peak, true);
    require("read_share", machine.read_share, true);
    require("write_share", machine.write_share, true);
    require("stream_limit", machine.stream_limit, true);
    require("stream window", machine.stream.window, true);
    require("cores window", machine.cores.window, true);
    require("buffer", machine.buffer, false);
    require("stream queue", machine.stream.queue, false);
    require("cores queue", machine.cores.queue, false);
    for (const Segment &segment : segments) {
        for (const CoreTask &task : segment.tasks) {
            require("needs of a task", static_cast<double>(task.needs), false);
            require("seconds of a task", task.seconds, false);
            require("read of a task", task.read, false);
            require("written of a task", task.written, false);
            require("rate of a task", task.rate, true);
        }
        for (const StreamedTensor &tensor : segment.tensors) {
            require("needs of a tensor", static_cast<double>(tensor.needs), false);
            require("bytes of a tensor", tensor.bytes, false);
            require("seconds of a tensor", tensor.seconds, true);
        }
    }
}

} // namespace

ScheduleTimeline run_schedule(const ScheduleMachine &machine, const std::vector<Segment> &segments,
                              const std::vector<std::int64_t> &order, const Throttled &throttled)
{
    validate(machine, segments);
    std::vector<CoreTask> tasks;
    std::vector<StreamedTensor> tensors;
    for (const std::int64_t place : order) {
        if (place < 0 || static_cast<std::size_t>(place) >= segments.size())
            throw std::invalid_argument("order has " + std::to_string(place) + ": allowed are 0.." +
                                        std::to_string(static_cast<std::int64_t>(segments.size()) - 1));
        const Segment &segment = segments[static_cast<std::size_t>(place)];
        const auto tasks_before = static_cast<std::int64_t>(tasks.size());
        const auto tensors_before = static_cast<std::int64_t>(tensors.size());
        for (CoreTask task : segment.tasks) {
            task.needs += tensors_before;
            tasks.push_back(task);
        }
        for (StreamedTensor tensor : segment.tensors) {
            tensor.needs += tasks_before;
            tensors.push_back(tensor);
        }
    }
    Play play(machine, tasks, tensors, throttled);
    while (!play.over())
        play.to_next_event();
    return play.line;
}

} // namespace sailsim::pim
