"""Area: closed forms, what must grow, and the readings of two percent."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.costs.area import COUNTED, PARTS, AreaConstants, area, area_overheads
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system_files import load_system, vary

from ...refusals import extending, quantity

C = AreaConstants.default()
SYSTEM = load_system("sail-n1")
"""Constants that make the unit smaller when they grow."""


def with_arrays(count):
    """sail-n1 with other arrays a slice."""
    pim = SYSTEM.pim
    return SYSTEM.model_copy(
        update={"pim": pim.model_copy(update={"arrays": pim.arrays.model_copy(update={"value": count})})}
    )


def test_parts_in_closed_form():
    parts = area(SYSTEM).parts
    # 16 arrays of 256 x 256; 42 entries of 6 bits a row of an array; 32 bits of accumulator.
    lanes = 16 * 42
    assert parts["arrays"] == pytest.approx(16 * 65536 * 0.027 / 0.4 * 1e-6)
    assert parts["lanes"] == pytest.approx(lanes * 32 * (0.20412 + 4 * 0.13122) / 0.7 * 1e-6)
    assert parts["accumulators"] == pytest.approx(lanes * 32 * 8 * 0.0675 * 1e-6)
    assert parts["activations"] == pytest.approx(4 * 8192 * 0.027 / 0.4 * 1e-6)
    assert parts["prt"] == pytest.approx((32 * 5 * (0.2916 + 0.13122) / 0.7 + 32 * 16 * 256 * 0.0675) * 1e-6)
    assert parts["queue"] == pytest.approx(4 * 512 * 0.2916 / 0.7 * 1e-6)
    assert parts["buffers"] == pytest.approx(16 * 560 * 0.2916 / 0.7 * 1e-6)
    assert parts["cache"] == pytest.approx(8192 * 0.027 / 0.4 * 1e-6)
    assert parts["control"] == pytest.approx(20000 * 0.05832 / 0.7 * 1e-6)
    assert set(parts) == set(PARTS)


def test_parts_that_other_machines_have_in_closed_form():
    """Where a width, a size or a count of the nominal machine makes a wrong formula look right."""
    assert area(SYSTEM, wbits=3).parts["lanes"] == pytest.approx(
        area(SYSTEM).parts["lanes"] * (256 // 5) / 42
    )
    larger = area(vary(SYSTEM, {"pim.unit_cache": 3, "pim.queue": 5})).parts
    assert larger["cache"] == pytest.approx(3 * area(SYSTEM).parts["cache"])
    serial = area(vary(SYSTEM, {"pim.substrate": "bit_serial"})).parts
    assert serial["lanes"] == serial["accumulators"] == 0
    assert larger["queue"] == pytest.approx(5 / 4 * area(SYSTEM).parts["queue"])


def test_a_share_is_of_all_slices_over_its_base():
    found = area(SYSTEM)
    readings = area_overheads(SYSTEM)
    for counted, base in itertools.product(COUNTED, found.bases):
        share = 32 * sum(found.parts[name] for name in COUNTED[counted]) / found.bases[base]
        assert 0 < share < 1
        assert found.share(counted, base) == pytest.approx(share)
        assert readings[counted, base][0] == pytest.approx(share)


def test_bases():
    found = area(SYSTEM)
    llc = 32 * 2**23 * 0.027e-6 / 0.4
    assert found.bases == pytest.approx({"LLC": llc, "LLC and cores": llc + 64 * 1.4, "die": 456.96})
    assert found.added_mm2() == pytest.approx(32 * sum(found.parts.values()))
    # Cores and LLC fit on the die that they are measured on.
    assert found.bases["LLC and cores"] < found.bases["die"]


def test_each_dfm_has_a_search_and_control_of_its_own():
    one, four = (area(vary(SYSTEM, {"pim.dfms": dfms})).parts for dfms in (1, 4))
    assert four["control"] == pytest.approx(4 * one["control"])
    search = 32 * 5 * (C.flip_flop_um2 + C.comparator_um2) / C.utilisation * 1e-6
    assert four["prt"] - one["prt"] == pytest.approx(3 * search)
    assert (four["lanes"], four["accumulators"]) == (one["lanes"], one["accumulators"])


def test_floating_point_units_take_area_only_where_they_convert():
    assert area(SYSTEM).parts["converters"] == 0
    found = area(vary(SYSTEM, {"pim.convert": "unit", "pim.convert_units": 8})).parts
    assert found["converters"] == pytest.approx(8 * C.fp_unit_um2 * 1e-6)


@given(arrays=st.integers(1, 64), wbits=st.integers(1, 8))
def test_area_is_linear_in_the_arrays(arrays, wbits):
    none, one, many = (area(with_arrays(n), wbits=wbits).added_mm2() for n in (0, 1, arrays))
    assert many - none == pytest.approx(arrays * (one - none))


@given(target=st.floats(0.001, 0.2), wbits=st.integers(2, 8))
def test_the_arrays_of_a_reading_give_its_target(target, wbits):
    overheads = area_overheads(SYSTEM, wbits=wbits, target=target)
    for (counted, base), (_, arrays) in overheads.items():
        names = COUNTED[counted]
        if arrays is None:
            bare = area(with_arrays(0), wbits=wbits)
            added = sum(bare.parts[name] for name in names)
            assert added * bare.slices > target * bare.bases[base]
            continue

        # Between whole arrays the model is linear, so the share of a broken number may be reckoned.
        def share(count, names=names, base=base):
            whole = area(with_arrays(count), wbits=wbits)
            return sum(whole.parts[name] for name in names) * whole.slices / whole.bases[base]

        low = int(arrays)
        part = arrays - low
        assert share(low) * (1 - part) + share(low + 1) * part == pytest.approx(target)


def with_area(tmp_path, text):
    """sail-n1 on a substrate of other areas."""
    return vary(SYSTEM, {"pim.substrate": str(extending(tmp_path, "row_dfm", f"[area]\n{text}"))})


def test_a_substrate_may_have_areas_of_its_own(tmp_path):
    own, share = (quantity(0.1, unit, low=0.05, high=0.2) for unit in ("um2", "ratio"))
    found = with_area(
        tmp_path, f"cell = {own}\nefficiency = {share}\nbeside.add = {own}\nbeside.fp_add = {own}"
    )
    nominal, parts = area(SYSTEM).parts, area(found).parts
    assert parts["arrays"] == pytest.approx(16 * 65536 * 0.1 / 0.1 * 1e-6)
    assert parts["lanes"] == pytest.approx(16 * 42 * 32 * (0.1 + 0.1 + 4 * 0.13122) / 0.7 * 1e-6)
    assert (parts["cache"], parts["accumulators"]) == (nominal["cache"], nominal["accumulators"])


def test_bad_input_is_named():
    with pytest.raises(SailsimError, match="graviton2"):
        area(load_system("graviton2"))
    with pytest.raises(SailsimError, match=r"wbits is 9.*1..8"):
        area(SYSTEM, wbits=9)
    with pytest.raises(SailsimError, match=r"array_efficiency is 0.*above 0"):
        replace(C, array_efficiency=0.0)
    for wrong in ("-1.0", "nan"):
        with pytest.raises(SailsimError, match=rf"cell_um2 is {wrong}.*at least 0"):
            replace(C, cell_um2=float(wrong))


def test_synthesised_logic_takes_more_and_arrays_what_they_took():
    assumed, gates = area(SYSTEM).parts, area(SYSTEM, AreaConstants.synthesised()).parts
    larger = {part for part in PARTS if gates[part] > assumed[part]}
    assert larger == {"lanes", "prt", "control"}
    assert all(gates[part] == assumed[part] for part in PARTS if part not in larger)


def test_a_synthesised_reading_is_of_that_kind_and_of_the_same_unit():
    prt = AreaConstants.quantities()["prt_bit_um2"]
    assert prt.synthesised is not None
    wrong = prt.model_dump() | {"synthesised": prt.synthesised.model_dump() | {"kind": "paper"}}
    with pytest.raises(ValueError, match="synthesised reading of the kind 'paper'"):
        type(prt).model_validate(wrong)
    other = prt.model_copy(update={"synthesised": prt.synthesised.model_copy(update={"unit": "mm2"})})
    with pytest.raises(ValueError, match="has the unit 'mm2'"):
        AreaConstants.RULES["prt_bit_um2"].check(other)
