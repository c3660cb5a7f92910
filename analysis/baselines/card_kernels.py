"""What software reaches on a card, as the card's file says it (`sailsim.sim.system.CardKernels`).

A file that extends a card's has its constants under any name. Where a file has none, those cards stand for it
that the constant was measured on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from sailsim.analysis.baselines.fitted import Fitted
from sailsim.base.quantity import Quantity
from sailsim.sim.files import card_names, load_card
from sailsim.sim.system import Gpu

OF_THE_FIT = "fit"
"""The source of a card's constants that are those of `fits.json`, where they bear the card's name."""
MEASURED = ("fitted", "measured")
"""Kinds of constants that stand for measurements of the card itself."""


@lru_cache(maxsize=16)
def measured_on(name: str) -> Mapping[str, Quantity]:
    """A constant of `CardKernels` by the shipped cards that it was measured on."""
    found = {card: getattr(load_card(card).kernels, name) for card in card_names()}
    return {card: own for card, own in found.items() if own is not None and own.kind in MEASURED}


def is_measured(card: Gpu, *names: str) -> bool:
    """Whether constants of a card's file, its own or inherited, were all measured."""
    found = [getattr(card.kernels, name) for name in names]
    return all(own is not None and own.kind in MEASURED for own in found)


def of_card(card: Gpu, name: str, fitted_by: Fitted | None = None) -> list[float]:
    """A constant of `CardKernels` as the card's file has it, else as those cards have it that were measured.

    ``fitted_by`` takes the place of the shipped fits where the constant is theirs.
    """
    own = getattr(card.kernels, name)
    if own is not None:
        return [_value(own, [f"{name}_{c}" for c in (card.name, *card.extends)], name, fitted_by)]
    return [
        _value(found, [f"{name}_elsewhere", f"{name}_{other}"], name, fitted_by)
        for other, found in measured_on(name).items()
    ]


def _value(own: Quantity, names: list[str], name: str, fitted_by: Fitted | None) -> float:
    """A card's constant, or that of other fits by the first of some names that they know."""
    if fitted_by is not None and own.source == OF_THE_FIT:
        for known in (*names, name):
            if known in fitted_by.gpu.constants:
                return fitted_by.gpu.value(known)
    return float(own.value)


def taken_over(card: Gpu) -> list[str]:
    """Which constants a card has of the shipped one that its file extends, as a sentence; none of its own."""
    parent = next((name for name in card.extends if name in card_names()), None)
    if parent is None:
        return []
    known = dict(load_card(parent).kernels)
    same = [name for name, own in card.kernels if own is not None and own == known[name]]
    return [f"The kernels of {card.name} are taken over from {parent}: {', '.join(same)}."] if same else []


def cards_in_words(name: str) -> str:
    """The cards that a constant was measured on."""
    return ", ".join(card.upper() for card in measured_on(name))


def whose(card: Gpu, name: str) -> str:
    """What a note says of a constant that was not measured on the card."""
    own: Quantity | None = getattr(card.kernels, name)
    return "the measured cards' mean" if own is None else own.note or f"{own.value:g} ({own.kind})"
