"""No search for circles while work goes on that leaves none."""

import gc

import pytest

from sailsim.base.memory import no_search_for_circles


@pytest.mark.parametrize("searches", [True, False])
def test_python_searches_again_as_before_whatever_happened(searches: bool) -> None:
    before = gc.isenabled()
    (gc.enable if searches else gc.disable)()
    try:
        with no_search_for_circles():
            assert not gc.isenabled()
            with no_search_for_circles():
                pass
            assert not gc.isenabled()
        assert gc.isenabled() == searches
        with pytest.raises(KeyError), no_search_for_circles():
            raise KeyError
        assert gc.isenabled() == searches
    finally:
        (gc.enable if before else gc.disable)()
