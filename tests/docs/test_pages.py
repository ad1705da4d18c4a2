"""What the pages tell people to type is typed, a page in a folder of its own."""

from pathlib import Path

import pytest
from demonstration import require_everything
from docs.commands import type_block
from docs.pages import PAGES, ROOT, SHELLS, blocks_of, page_marks
from docs.places import PLACES

TYPED = [page for page in PAGES if any(block.is_run_here and block.language in (*SHELLS, "python")
         for block in blocks_of(page))]  # fmt: skip


@pytest.mark.slow
def test_the_demo_on_digits(demo: Path) -> None:
    require_everything(demo, "digits")


@pytest.mark.slow
@pytest.mark.usefixtures("few_processes")
@pytest.mark.parametrize("page", TYPED, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    place = PLACES[page_marks(page).get("typed in", "empty")]
    names = place(tmp_path, lambda: Path(request.getfixturevalue("demo")))
    for block in blocks_of(page):
        if block.file and block.is_run_here:
            (tmp_path / block.file).write_text(block.text)
        elif block.language in SHELLS and block.is_run_here:
            type_block(block, tmp_path)
        elif block.language == "python" and block.is_run_here:
            exec(compile(block.text.replace("mnist", "digits"), str(block), "exec"), names)
