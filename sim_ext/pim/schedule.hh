/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The schedule of a step (docs/engine.md): cores, PIM units and the weight stream from event to event, and
 * how cores and stream share the bandwidth of DRAM.
 */
#ifndef SAILSIM_PIM_SCHEDULE_HH
#define SAILSIM_PIM_SCHEDULE_HH

#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

namespace sailsim::pim
{

/* Somebody who reads; bytes count for what they occupy of the peak, times are in seconds. */
struct Reader {
    double demand = 0;                                       /* bytes/s, at most */
    double window = std::numeric_limits<double>::infinity(); /* bytes under way, at most */
    double latency = 0;                                      /* of one line while nobody else reads */
    std::int64_t parts = 1; /* how many it is that read, each alike; they wait for one another too */
    double queue = 0;       /* seconds of a channel's pins that lines of it which come together take */
    bool even = false; /* whether these bursts come evenly, so that none waits for another; else at random */

    /* Bytes/s when every line waits for so many seconds (Little's law). */
    double rate(double wait) const;
};

/* What a reader gets beside `load` bytes/s that give way to nobody, in bursts as its own. */
double alone(double capacity, const Reader &reader, double load = 0);

/* What each reader gets, served in the order of arrival. A line waits behind bursts of other readers, and of
 * its own reader's other parts, no longer than a load of `open_load` makes it wait. Where readers that wait
 * so want more than the capacity, all wait equally long at least: everybody gets in proportion to what is
 * under way. Readers without a bound on that share max-min fair. */
std::vector<double> shares(double capacity, const std::vector<Reader> &readers, double open_load);

/* Work of the host's cores, one task at a time. */
struct CoreTask {
    std::int64_t needs = 0; /* tensors that must be done before it starts */
    double seconds = 0;     /* at least */
    double read = 0;        /* bytes over DRAM */
    double written = 0;
    double rate = std::numeric_limits<double>::infinity(); /* bytes/s of both together, at most */
    bool sync = false;                                     /* hand-over, as opposed to computing */
};

/* One GEMV on the PIM units, one at a time. */
struct StreamedTensor {
    std::int64_t needs = 0; /* core tasks that must be done before it starts */
    double bytes = 0;       /* of weights, streamed from DRAM */
    double seconds = 0;     /* with its weights on chip */
    std::int64_t tile = 0;  /* what `Throttled` knows it by */
};

/* Seconds of a tensor whose weights come just in time at so many bytes/s. */
using Throttled = std::function<double(std::int64_t tile, double rate)>;

/* A part of a schedule, such as a block of a model; needs count from its start. */
struct Segment {
    std::vector<CoreTask> tasks;
    std::vector<StreamedTensor> tensors;
};

/* Bandwidths in bytes/s, capacities in bytes; moving r bytes/s occupies r / share of the peak. */
struct ScheduleMachine {
    double peak = 0;
    double read_share = 1;
    double write_share = 1;
    double stream_limit = 0; /* what the units can draw */
    std::int64_t depth = 0;  /* tensors that the stream may be ahead of the one at work */
    bool background = false; /* weights that no slice works on yet give way to the cores */
    double buffer = 0;       /* room for weights that wait */
    double open_load = 1;    /* as `shares` takes it */
    Reader stream;           /* all of it but the demand, which comes from the schedule */
    Reader cores;
};

/* Seconds by cause, which add up to `end`, and bytes over DRAM. */
struct ScheduleTimeline {
    double end = 0;
    std::vector<double> stalled; /* by tensor: seconds beyond those with its weights on chip */
    double cores = 0;            /* in which only the cores computed */
    double sync = 0;             /* of hand-over in which no PIM unit worked */
    double streamed = 0;
    double read = 0;
    double written = 0;
    std::int64_t events = 0;
};

/* Plays the segments named by `order`, one behind the other, from an empty machine to the end.
 * Throws std::invalid_argument for numbers that no machine or tensor has and for a place in `order` without a
 * segment, std::runtime_error when needs can never be met. */
ScheduleTimeline run_schedule(const ScheduleMachine &machine, const std::vector<Segment> &segments,
                              const std::vector<std::int64_t> &order, const Throttled &throttled);

} // namespace sailsim::pim

#endif
