"""Mixtures of experts: the number that a batch touches, and the tokens of each of those.

A router gives every token ``used`` of ``count`` experts. The model assumes uniform choice: every set of
``used`` experts is equally likely and tokens are independent, so that an expert sees a binomial number of a
batch's tokens. A weight matrix is read, and tables are built of it, only if a token chose its expert; it then
serves all tokens that did. docs/models.md gives the effect of that assumption on the results.
"""

from dataclasses import dataclass
from math import ceil, exp, expm1, lgamma, log, log1p, sqrt

MAX_EXPERTS = 1 << 16
"""Upper limit of the experts of a block: a larger number is taken for a damaged file."""

MAX_CLASSES = 16
"""Most numbers of tokens that are distinguished among the experts of a block; more are joined."""

NEGLIGIBLE = 1e-12
"""Share of the touched experts below which a number of tokens is joined with the next one."""

Spread = tuple[tuple[int, float], ...]
"""Load of the experts that a batch touches: pairs of the tokens of an expert and the number of such experts.

The second is an expected number, which need not be whole.
"""


@dataclass(frozen=True)
class Experts:
    """Mixture of experts in place of a block's feed-forward network.

    A token uses ``used`` of ``count`` experts with an inner width of ``d_ffn`` each. ``shared_d_ffn`` is the
    inner width of the shared expert that every token uses too (0: none). ``dense_layers`` are blocks with one
    ordinary network instead. ``fused``: gate and up of an expert are one matrix.
    """

    count: int
    used: int
    d_ffn: int
    shared_d_ffn: int = 0
    fused: bool = False
    dense_layers: tuple[int, ...] = ()

    def problem(self, n_layers: int, most: int) -> str | None:
        """Problem of the experts in a model of ``n_layers`` blocks and inner widths up to ``most``, or None.

        It is a field, its value and the allowed ones.
        """
        for field, value, least, limit in (
            ("count", self.count, 1, MAX_EXPERTS),
            ("used", self.used, 1, self.count),
            ("d_ffn", self.d_ffn, 1, most),
            ("shared_d_ffn", self.shared_d_ffn, 0, most),
        ):
            if type(value) is not int or not least <= value <= limit:
                return f"experts.{field} is {value!r}; allowed is a whole number {least}..{limit}"
        ranks = self.dense_layers
        if list(ranks) != sorted(set(ranks)) or any(not 0 <= at < n_layers for at in ranks):
            return f"experts.dense_layers is {list(ranks)}; allowed are rising blocks of 0..{n_layers - 1}"
        if len(ranks) == n_layers:
            return "experts.dense_layers has every block; allowed is to leave out experts"
        return None


def distinct_experts(count: int, used: int, tokens: int) -> float:
    """Expected number of experts that tokens touch: ``count * (1 - (1 - used / count) ** tokens)``."""
    if used >= count:
        return float(count)
    return -count * expm1(tokens * log1p(-used / count))


def touched_deviation(count: int, used: int, tokens: int) -> float:
    """Standard deviation of the number of experts that a batch touches."""
    if used >= count or tokens == 1 or count == 1:
        return 0.0
    untouched = exp(tokens * log1p(-used / count))
    both = max(0.0, (count - used) * (count - used - 1) / (count * (count - 1))) ** tokens
    variance = count * untouched * (1 - untouched) + count * (count - 1) * (both - untouched * untouched)
    return sqrt(max(0.0, variance))


def expected_rounds(mean: float, deviation: float, together: int, least: int, most: int) -> float:
    """Expected number of groups of ``together`` experts, the last of which need not be full.

    The number of experts is taken as normal with this mean and deviation, within ``least..most``.
    """
    if deviation < 1e-6:
        return float(ceil(mean / together - 1e-9))
    reach = range(max(least, int(mean - 6 * deviation)), min(most, int(mean + 6 * deviation) + 1) + 1)
    weights = {number: exp(-0.5 * ((number - mean) / deviation) ** 2) for number in reach}
    groups = sum(weight * ceil(number / together) for number, weight in weights.items())
    return max(groups / sum(weights.values()), mean / together)


def expected_spread(count: int, used: int, tokens: int) -> Spread:
    """Expected load of the experts by so many tokens, from a binomial distribution.

    Its experts add up to `distinct_experts`, and its tokens to ``tokens * used``. Beyond `MAX_CLASSES`
    numbers of tokens, runs of neighbours are replaced by the two integers around their mean, which
    keeps the sums of experts and tokens.
    """
    if used >= count or tokens == 1:
        return ((tokens, float(used)),)
    p = used / count
    whole = lgamma(tokens + 1)
    mean = tokens * p
    reach = 60 + 10 * sqrt(mean)  # shares beyond it are far below NEGLIGIBLE
    classes = []
    for on in range(max(1, int(mean - reach)), min(tokens, int(mean + reach)) + 1):
        ways = whole - lgamma(on + 1) - lgamma(tokens - on + 1)
        classes.append((on, count * exp(ways + on * log(p) + (tokens - on) * log1p(-p))))
    least = NEGLIGIBLE * distinct_experts(count, used, tokens)
    classes = [(on, experts) for on, experts in classes if experts > least]
    return _balanced(_joined(classes), distinct_experts(count, used, tokens), tokens * used)


def touched_experts(spread: Spread) -> float:
    """Number of experts in a spread."""
    return sum(experts for _, experts in spread)


def _joined(classes: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Join numbers of tokens to at most `MAX_CLASSES`: runs of neighbours with about equal experts."""
    if len(classes) <= MAX_CLASSES:
        return classes
    share = sum(experts for _, experts in classes) / (MAX_CLASSES // 2 - 1)
    joined: dict[int, float] = {}
    run: list[tuple[int, float]] = []
    passed = 0.0
    for at, (on, experts) in enumerate(classes):
        run.append((on, experts))
        passed += experts
        if passed < share * (1 - 1e-9) and at + 1 < len(classes):
            continue
        passed -= share
        for near, many in _around_mean(run):
            joined[near] = joined.get(near, 0.0) + many
        run = []
    return sorted(joined.items())


def _around_mean(run: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Two integers around the mean of a run, with its sums of experts and tokens."""
    experts = sum(many for _, many in run)
    mean = sum(on * many for on, many in run) / experts
    below = int(mean)
    above = (mean - below) * experts
    return [(on, many) for on, many in ((below, experts - above), (below + 1, above)) if many > 0]


def _balanced(classes: list[tuple[int, float]], experts: float, tokens: int) -> Spread:
    """Spread with exactly these sums of experts and tokens.

    Its largest class and the one before it make up for rounding and the negligible classes.
    """
    if len(classes) == 1:
        return ((classes[0][0], experts),)
    at = max(range(len(classes)), key=lambda i: classes[i][1])
    (low, _), (high, _) = classes[at - 1 : at + 1] if at else classes[:2]
    missing = experts - sum(many for _, many in classes)
    rest = tokens - sum(on * many for on, many in classes)
    more = (rest - low * missing) / (high - low)
    change = {low: missing - more, high: more}
    return tuple((on, many + change.get(on, 0.0)) for on, many in classes)
