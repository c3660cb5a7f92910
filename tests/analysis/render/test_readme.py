"""README's answer is the answer: its sentence and its table are those of the models as they are.

Where this fails, the sentence and the table that README should have are in the failure's text.
"""

from dataclasses import replace
from pathlib import Path

from sailsim.analysis.render.gem5_figures import regions_together
from sailsim.analysis.results.compare import compare
from sailsim.analysis.results.equal_quality import ABITS, KV_BITS, METHOD, measured
from sailsim.analysis.results.gem5_steps import decode_rows
from sailsim.analysis.results.results import ORDINARY
from sailsim.analysis.results.runs import shipped_runners
from sailsim.analysis.results.verdict import cells, dollars
from sailsim.analysis.results.verdict import times as plain_times
from sailsim.sim.files import load_system
from sailsim.workloads.load import FILE, load_model

README = Path(__file__).parents[3] / "README.md"
CORES = load_system(ORDINARY.system).cores.count.whole
FORMATS = ("q4_k_m", "4g128")
"""What people run, in which llama.cpp was measured on these cores, and what suits SAIL."""
BESIDE = ("cores", "cores-ampere", "cores-lut")
"""Measured software on the same threads."""
SIMULATION = "cores-neon"
CARDS = ("v100", "v100-serving", "a10g-serving")
SAILS = ("sail", "sail-ampere", "sail-neon")
SOME = (*SAILS, *BESIDE, SIMULATION)
"""Rows with as many cores as the workload says; with all of them those that were measured."""
WHOLE = (*SAILS[:2], *BESIDE)


def runs(runners, prefix, **changes):
    """What can run the ordinary workload in each format, by its name, with what it runs on in its title."""
    found = {}
    for name in FORMATS:
        point = replace(ORDINARY, wbits=None, group_size=None, weights=name, **changes)
        answer = compare(point, runners=runners)["runs"]
        found[name] = {
            who: run
            | {"title": (prefix if run["kind"] != "card" else "") + run["title"].removeprefix("cores, ")}
            for who, run in answer.items()
            if run["tokens_per_s"] is not None
        }
    return found


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


def decoded(of):
    """SAIL's rate in a format, over machines."""
    sail = of["sail"]
    return f"**{sail['median']:.0f}** tokens/s in {{}} ({sail['low']:.0f} .. {sail['high']:.0f})"


def nominal(of):
    """The nominal machine's rate, and its place among them."""
    return f"{of['sail']['tokens_per_s']:.1f} (faster than {of['sail']['percentile']:.0f} % of them)"


def given(of):
    """SAIL's tokens per dollar over the paper's card's."""
    return f"{dollars(of['v100']):.2f}x"


def fastest(of):
    """SAIL over the fastest measured software in a format, and that one's name."""
    best = max((of[name] for name in BESIDE if name in of), key=lambda run: run["tokens_per_s"])
    return f"{times(best)} in {{}} ({best['title'].partition('cores, ')[2]})"


def times(run):
    """SAIL over a run, its first word bold."""
    first, _, ends = plain_times(run).partition(" ")
    return f"**{first}** {ends}".rstrip()


def lost():
    """What the measured model loses with weights like those of `FORMATS`, in a sentence."""
    points = measured()
    points = points[(points.abits == ABITS) & (points.kv_bits == KV_BITS) & (points.method == METHOD)]
    loss = dict(zip(points.weights, points.loss, strict=True))
    return (
        f"SmolLM2-135M loses {loss[FILE]:.2f} nats a token as its file is stored (Q4_1; q4_k_m was not "
        f"measured), rounded again to 4g128 {loss['4']:.2f}."
    )


def table(what, formats, names):
    """Header and rows of some runners, with the cells of each format's runs."""
    header = [f"{each}: {words}" for each in formats for words in ("tokens/s", "SAIL is", "SAIL gives")]
    rows = []
    for name in names:
        own = [of.get(name) for of in formats.values()]
        title = next(run["title"] for run in own if run is not None)
        rows.append((title, *(cell for run in own for cell in cells(name, run))))
    return [what, *header], rows


def answer():
    """README's sentence and table."""
    some = runs(shipped_runners(), f"{ORDINARY.threads} cores, ")
    # The whole server runs as many processes of a software as are the fastest.
    packed = [
        each.model_copy(update={"instances": "best"}) if each.kind == "cores" else each
        for each in shipped_runners()
    ]
    whole = runs(packed, f"{CORES} cores, ", threads=CORES)

    def both(words, of=some):
        return " and ".join(words(of[name]).format(name) for name in FORMATS)

    units, cores = in_gem5()
    sentence = (
        f"With {ORDINARY.threads} of the server's {CORES} cores beside it, SAIL decodes {both(decoded)}: the "
        "median, and nine of ten, of the machines that what is published allows. The nominal one decodes "
        f"{both(nominal)}. The median is {both(lambda of: times(of['cores']))} llama.cpp's rate on these "
        f"cores. Over the fastest measured software, its attention on both sides, it is {both(fastest)}; "
        f"with all {CORES} cores on either side {both(fastest, whole)}. In gem5 this project's program is "
        f"**{units / cores:.1f}x** as fast with nominal units ({units:.1f} and {cores:.1f} tokens/s in "
        f"{FORMATS[-1]}). A card gives more: SAIL has {both(lambda of: times(of['v100']))} of a V100's "
        f"tokens/s and, where it pays for {ORDINARY.threads} vCPUs alone, "
        f"{both(given)} of its tokens per dollar. {lost()}"
    )
    what = f"{load_model(ORDINARY.model).title}, batch {ORDINARY.batch}, context {ORDINARY.context}"
    header, rows = table(what, some, SOME)
    rows += table(what, whole, WHOLE)[1] + table(what, some, CARDS)[1]
    lines = ["| " + " | ".join(each) + " |" for each in [header, *rows]]
    return sentence, "\n".join([lines[0], "|---|" + "--:|" * (len(header) - 1), *lines[1:]])


def test_readme_has_the_answer() -> None:
    sentence, rows = answer()
    text = README.read_text("utf-8")
    assert sentence in text
    assert rows in text
