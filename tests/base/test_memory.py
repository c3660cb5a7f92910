"""No search for circles while work goes on that leaves none."""

import gc

import pytest

from sailsim.base.memory import gc_paused


@pytest.mark.parametrize("searches", [True, False])
def test_python_searches_again_as_before_whatever_happened(searches: bool) -> None:
    before = gc.isenabled()
    (gc.enable if searches else gc.disable)()
    try:
        with gc_paused():
            assert not gc.isenabled()
            with gc_paused():
                pass
            assert not gc.isenabled()
        assert gc.isenabled() == searches
        with pytest.raises(KeyError), gc_paused():
            raise KeyError
        assert gc.isenabled() == searches
    finally:
        (gc.enable if before else gc.disable)()
