"""README's answer is the answer: its sentence and its table are those of the models as they are.

Where this fails, the sentence and the table that README should have are in the failure's text.
"""

from dataclasses import replace
from pathlib import Path

from sailsim.analysis.render.answer import BESIDE, CARDS, COLUMNS, ORDINARY, row
from sailsim.analysis.render.gem5_figures import regions_together
from sailsim.analysis.results.compare import compare
from sailsim.analysis.results.gem5_steps import HOST, decode_rows
from sailsim.analysis.results.runs import named, shipped_runners
from sailsim.sim.files import load_system
from sailsim.workloads.load import load_model

README = Path(__file__).parents[3] / "README.md"
CORES = load_system(ORDINARY.system).cores.count.whole
HOSTS = {
    "fast": ("sail-n1-fast-host", "SAIL, attention as in the fork"),
    "ours": (HOST, "SAIL, around it as gem5 NEON"),
}
"""SAIL where the cores run attention as Ampere's fork does, and all of it as this project's program."""


def runs(point, runners):
    """What runs a point, and SAIL beside other hosts."""
    found = compare(point, runners=runners)["runs"]
    for name, (host, title) in HOSTS.items():
        own = compare(replace(point, system=host), runners=named("sail"))["runs"]["sail"]
        found[name] = own | {"title": title}
    return found


def title(run):
    return run["title"].removeprefix("cores, ")


def in_gem5():
    """Tokens a second of the program on simulated cores, with units and without."""
    wanted = {
        **{"model": ORDINARY.model, "weights": f"{ORDINARY.wbits}g{ORDINARY.group_size}", "cache": "fp16"},
        **{"batch": ORDINARY.batch, "context": ORDINARY.context, "threads": ORDINARY.threads},
    }
    steps = {
        each["linears"]: sum(regions_together(each).values())
        for each in decode_rows()
        if all(each[name] == value for name, value in wanted.items())
    }
    clock = load_system(ORDINARY.system).cores.clock.si
    return tuple(ORDINARY.batch * clock / steps[kind] for kind in ("lutmm", "neon"))


def test_readme_has_the_answer() -> None:
    some = runs(ORDINARY, shipped_runners())
    # The whole server runs as many processes of a software as are the fastest.
    packed = [
        each.model_copy(update={"instances": "best"}) if each.kind == "cores" else each
        for each in shipped_runners()
    ]
    whole = runs(replace(ORDINARY, threads=CORES), packed)
    best, least = (
        max((of[name] for name in BESIDE), key=lambda run: run["tokens_per_s"]) for of in (some, whole)
    )
    units, cores = in_gem5()
    card = some["v100"]
    sail = some["sail"]

    def over(run):
        return f"**{run['speedup_median']:.1f}x** ({run['speedup_low']:.1f} .. {run['speedup_high']:.1f}x)"

    dollars = card["usd_ratio_used"] * card["speedup_median"] / card["speedup"]
    sentence = (
        f"With {ORDINARY.threads} of the server's {CORES} cores beside it, SAIL decodes "
        f"**{sail['median']:.0f}** tokens/s: the median of the machines that may be meant, of which nine of "
        f"ten have {sail['low']:.0f} .. {sail['high']:.0f}. The nominal one has {sail['tokens_per_s']:.1f}, "
        f"more than {sail['percentile']:.0f} % of them. The median is {over(some['cores'])} llama.cpp's rate "
        f"on these cores and {over(best)} that of the fastest software ({title(best)}). With all {CORES} "
        f"cores on either side it is {over(least)} that of {title(least)}. "
        "In gem5, where this project's program runs on both sides, its kernels faster than any of these, "
        f"the same step is **{units / cores:.1f}x** as fast with nominal units ({units:.1f} and {cores:.1f} "
        f"tokens/s). A card gives more: SAIL has {card['speedup_median']:.2f}x of a V100's tokens/s and, "
        f"where it pays for {ORDINARY.threads} vCPUs alone, {dollars:.2f}x of its tokens per dollar."
    )
    rows = []
    for of, count in ((some, ORDINARY.threads), (whole, CORES)):
        names = ("sail", "fast", *BESIDE, *(("ours", "cores-neon") if of is some else ()))
        rows += [row(f"{count} cores, {title(of[name])}", of[name]) for name in names]
    rows += [row(some[name]["title"], some[name]) for name in CARDS]
    model = load_model(ORDINARY.model).title
    what = f"{model}, {ORDINARY.wbits} bits, batch {ORDINARY.batch}, context {ORDINARY.context}"
    text = README.read_text("utf-8")
    assert sentence in text
    lines = ["| " + " | ".join(each) + " |" for each in [(what, *COLUMNS), *rows]]
    assert "\n".join([lines[0], "|---|" + "--:|" * len(COLUMNS), *lines[1:]]) in text
