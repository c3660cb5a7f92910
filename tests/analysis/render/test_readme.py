"""README's answer is the answer: its sentence and its table are those of the models as they are."""

from pathlib import Path

from sailsim.analysis.render.answer_page import answer, as_markdown

README = Path(__file__).parents[3] / "README.md"


def test_readme_has_the_answer() -> None:
    found, text = answer(), README.read_text("utf-8")
    assert found.sentence in text
    assert as_markdown(found) in text
