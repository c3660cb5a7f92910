"""The page of a paper's claims together (docs/joint.md) and its figure, from what `sailsim joint` found."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from sailsim.analysis.paper.joint import CANDIDATES, PSEUDO, PSEUDO_SPREAD
from sailsim.analysis.paper.joint_nearest import commands
from sailsim.analysis.paper.unknowns import space
from sailsim.analysis.render.joint_figure import FILE, joint_figure
from sailsim.analysis.render.markdown import table
from sailsim.analysis.render.reproduction_words import number, shown
from sailsim.analysis.render.style import save
from sailsim.base.atomic import write_whole
from sailsim.base.records import read_records, to_lines

Joint = Mapping[str, Any]
STORED = "joint.jsonl"
"""The results behind docs/joint.md, in `analysis/data`."""
PAGE = "joint.md"
WHERE = {"highest": "each at its own highest", "one workload": "all at one workload"}
MOST_PINNED = 12


def stored_page() -> str:
    """docs/joint.md from the results that ship."""
    return markdown(read_records(files("sailsim.analysis") / "data" / STORED))


def summary(results: Joint) -> list[str]:
    """What came out, a line each."""
    near = results["nearest"]
    lines = [
        f"{prior}: {found['within']['1.25']} of {results['machines']} machines are within 1.25 times all "
        f"{len(results['claims'])} numbers by any of {results['combinations']} combinations of readings, "
        f"{found['primary_within']['1.25']} by the first of each; the nearest is within "
        f"{found['best']['factor']} times"
        for prior, found in results["priors"].items()
    ]
    return [*lines, f"{near['file']}: within {near['factor']} times, from {near['from']}"]


def markdown(results: Joint) -> str:
    """The whole page."""
    return "\n\n".join([*_opening(results), *_alone(results), *_at_once(results), *_machines(results)]) + "\n"


def _opening(results: Joint) -> list[str]:
    groups = "; ".join(
        f"{', '.join(group['claims'])}: {group['rows']} ({group['reason']})" for group in results["groups"]
    )
    where = "read off " + " or ".join(WHERE[each] for each in results["where"])
    priors = " and ".join(f"`{name}`" for name in results["priors"])
    return [
        "# The paper's claims together",
        f"Written by `sailsim joint --machines {results['machines']} --seed {results['seed']} --docs docs`; "
        "nothing here is typed. [The reproduction](reproduction.md) asks of each number by itself how many "
        "machines reach it. Here one machine has to have all of them. A number's words allow several "
        "readings, and only some go together: the combinations were declared in "
        "`analysis/data/combinations/sail.toml` before any machine was drawn, "
        f"**{results['combinations']}** of them ({groups}; {where}). A machine's distance is "
        "the largest factor between one of its numbers and the paper's, by the combination that suits it "
        "best.",
        f"Two priors say what is not published: {priors}, files with a reason a line in "
        "`analysis/data/unknowns`. The narrow one takes what reviews describe; the wide one leaves open what "
        "an access, an addition and a write of the arrays cost, where and how types are converted, the clock "
        "down to silicon's 0.4 GHz, NBW tensor by tensor, and whose attention the cores run. "
        f"{results['machines']} machines were drawn from each.",
    ]


def _alone(results: Joint) -> list[str]:
    priors = results["priors"]
    claims = {claim["name"]: claim for claim in results["claims"]}
    rows = []
    for i, (_, claim) in enumerate(claims.items()):
        row = [claim["short"], number(claim["paper"], claim["unit"])]
        for found in priors.values():
            own = found["claims"][i]
            low, middle, high = own["quantiles"]
            row += [
                f"{number(middle, claim['unit'])} ({number(low)} .. {number(high)})",
                _percent(own["reach"], results["machines"]),
            ]
        rows.append(row)
    head = ["claim", "paper"]
    for prior in priors:
        head += [f"`{prior}`: median (5 .. 95 %)", "reach it"]
    reached = [
        (f"`{prior}`", *(_percent(n, results["machines"]) for n in found["reached"]))
        for prior, found in priors.items()
    ]
    names = [claim["short"] for claim in claims.values()]
    first = next(iter(priors))
    tied = [
        (name, *("" if j > i else f"{value:+.2f}" for j, value in enumerate(row)))
        for i, (name, row) in enumerate(zip(names, priors[first]["correlation"], strict=True))
    ]
    return [
        "## Each by itself, under both priors",
        "By each claim's first reading. How many reach a number says as much of the prior as of the paper.",
        table(head, rows, "lr" + "rr" * len(priors)),
        "How many of the claims a machine reaches at once, by the same readings:",
        table(
            ("prior", *(f"{n} of {len(claims)}" for n in range(len(claims) + 1))),
            reached,
            "l" + "r" * (len(claims) + 1),
        ),
        f"How the claims go together over the machines of `{first}` (rank correlation): what makes SAIL "
        "faster makes its dollars go further, and takes area.",
        table(("", *names), tied, "l" + "r" * len(names)),
    ]


def _at_once(results: Joint) -> list[str]:
    rows = []
    for prior, found in results["priors"].items():
        for words, counts in (
            ("any combination", found["within"]),
            ("first readings", found["primary_within"]),
        ):
            rows.append((f"`{prior}`", words, *(str(n) for n in counts.values())))
    factors = list(next(iter(results["priors"].values()))["within"])
    said = []
    for prior, found in results["priors"].items():
        nearest = found["best"]["factor"]
        as_near = sum(1 for each in found["pseudo"] if each is not None and nearest and each <= nearest)
        middle = sorted(each if each is not None else float("inf") for each in found["pseudo"])[
            len(found["pseudo"]) // 2
        ]
        said.append(
            f"under `{prior}` {as_near} of {len(found['pseudo'])} had a machine as near as the paper has "
            f"({nearest} times), and half of them one within {middle:.3g} times"
        )
    return [
        "## All at once",
        f"Machines of {results['machines']} that are within a factor of all of the paper's numbers:",
        table(("prior", "by", *(f"{f} times" for f in factors)), rows, "ll" + "r" * len(factors)),
        f"![How near machines come to all claims, and what is pinned there](figures/{FILE})",
        f"**How much that proves.** For comparison {PSEUDO} papers that nobody wrote were asked for: the "
        "same five claims with every number moved by a factor of its own, up to "
        f"{PSEUDO_SPREAD:g} times either way. Of these, {'; '.join(said)}. Agreement with all five is "
        "evidence only as far as such papers fail to find it: with this many unknowns and "
        f"{results['combinations']} ways to read five numbers, a machine that has them is one that could be "
        "the paper's, and no more. What the numbers do say is which machines cannot be it.",
        *_posterior(results),
    ]


def _posterior(results: Joint) -> list[str]:
    parts = []
    for prior, found in results["priors"].items():
        pinned = [row for row in found["posterior"] if row["pinned"]]
        rows = [
            (
                f"`{row['factor']}`",
                row["span"],
                shown(row["nominal"]) if row["nominal"] != 0.0 else "0",
                shown(row["values"][1]),
                f"{shown(row['values'][0])} .. {shown(row['values'][2])}",
                float(row["gap"]),
            )
            for row in pinned[:MOST_PINNED]
        ]
        free = len(found["posterior"]) - len(pinned)
        within = found["accepted_within"]
        parts += [
            f"### What the nearest machines of `{prior}` have in common",
            f"Of the {found['accepted']} nearest (within {within} times of all): {len(pinned)} of "
            f"{len(found['posterior'])} unknowns are not spread as they were drawn (Kolmogorov and Smirnov, "
            f"one chance in a thousand for all together); of the other {free} the paper's numbers say "
            "nothing.",
        ]
        if rows:
            parts.append(
                table(
                    ("unknown", "drawn from", "nominal", "median there", "5 .. 95 %", "gap"), rows, "lllllr"
                )
            )
    return parts


def _machines(results: Joint) -> list[str]:
    near = results["nearest"]
    claims = {claim["name"]: claim for claim in results["claims"]}
    parts = ["## Machines by name"]
    for one in (*results["beside"], near["reading"]):
        changed = ", ".join(f"{name} = {shown(value)}" for name, value in one["changes"].items())
        title = f"`{one['name']}`" + (f" ({changed})" if changed else "")
        best, first = one["best"], one["primary"]
        rows = [
            (
                claims[row["claim"]]["short"],
                number(claims[row["claim"]]["paper"], claims[row["claim"]]["unit"]),
                number(other["value"], claims[row["claim"]]["unit"]),
                other["at"] or "-",
                number(row["value"], claims[row["claim"]]["unit"]),
                row["at"] or "-",
                row["words"],
            )
            for row, other in zip(best["rows"], first["rows"], strict=True)
        ]
        parts += [
            f"### {title}",
            f"Within {_times(one['factor'])} of all by its best combination ({WHERE[best['where']]}), "
            f"{_times(one['primary_factor'])} by the first readings; {one['combinations_within']} of "
            f"{results['combinations']} combinations have it within 1.25 times.",
            table(
                ("claim", "paper", "first reading", "at", "best combination", "at", "reading"),
                rows,
                "lrrlrll",
            ),
        ]
    return parts + _files(results)


def _files(results: Joint) -> list[str]:
    near = results["nearest"]
    within = space(results["paper"], list(results["priors"])[-1])
    places = {row["at"] for row in near["reading"]["best"]["rows"] if row["at"]}
    return [
        f"The nearest was searched from each of the others, one value at a time ({near['from']} led to it): "
        f"[systems/{near['file']}](systems/{near['file']}). Its points again:",
        "```sh\n" + "\n".join(commands(near, within, sorted(places))) + "\n```",
        f"`{CANDIDATES[0]}` is the machine that one would guess who wants the numbers: tables of as many "
        "entries as the published PRT holds, an access of two cycles of which a hit spares one, a round "
        "clock. It was guessed with the numbers in mind.",
    ]


def _times(factor: float | None) -> str:
    return "no factor (a claim has no value, or 0)," if factor is None else f"{factor:g} times"


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.2g} %" if part else "0"


def write_page(results: Joint, folder: Path, docs: Path | None = None) -> list[Path]:
    """Write page and figure to a folder, and with ``docs`` there too, with the results that they ship from.

    Returns the paths. Raises OSError where one cannot be written.
    """
    figure = joint_figure(results)
    targets = [folder / "figures" / FILE, folder / "figures" / FILE.replace("png", "svg")]
    texts: dict[Path, bytes] = {folder / PAGE: markdown(results).encode()}
    if docs is not None:
        targets.append(docs / "figures" / FILE)
        near = results["nearest"]["file"]
        texts |= {
            docs / PAGE: markdown(results).encode(),
            docs / "systems" / near: (folder / near).read_bytes(),
            docs.parent / "analysis" / "data" / STORED: to_lines(results).encode(),
        }
    written: list[Path] = save(figure, *targets)
    for path, content in texts.items():
        write_whole(path, content)
        written.append(path)
    return written
