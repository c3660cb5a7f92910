/* SPDX-License-Identifier: BSD-3-Clause
 *
 * After how many steps a state comes again: Brent's search, which keeps one earlier state.
 */
#ifndef SAILSIM_PIM_PERIOD_SEARCH_HH
#define SAILSIM_PIM_PERIOD_SEARCH_HH

#include <cstdint>
#include <utility>

namespace sailsim::pim
{

template <typename State>
class PeriodSearch
{
  public:
    void restart(State state)
    {
        kept = std::move(state);
        steps = 0;
        reach = 1;
    }

    /* The earlier state, for one that is a step further than the last that was seen. */
    const State &before() const { return kept; }

    /* How many steps that one is behind it. */
    std::int64_t period() const { return steps + 1; }

    /* The state is none that is known: it is seen, and kept where the one before was kept for long enough. */
    void see(State state)
    {
        if (++steps == reach) {
            kept = std::move(state);
            steps = 0;
            reach *= 2;
        }
    }

  private:
    State kept;
    std::int64_t steps = 0;
    std::int64_t reach = 1;
};

} // namespace sailsim::pim

#endif
