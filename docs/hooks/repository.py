"""Makes a link that a code host follows one that the site follows: MkDocs calls what is here.

A file outside of `docs/` that a page links becomes a part of the site, below `project/`, and so do
those that it links itself: READMEs as pages, all else as it is.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:)([^)#\s]+)")
# What the tests read: see CONTRIBUTING.md.
_MARK = re.compile(r"^ *<!-- (?!generated: ).* -->\n", re.MULTILINE)
_NAMED_FENCE = re.compile(r"^( *(?:`{3,}|~{3,})\w+) file=(\S+)$", re.MULTILINE)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds what is linked outside of `docs/`."""
    waiting = [ROOT / "README.md"]
    waiting += [
        Path(page.abs_src_path) for page in files.documentation_pages() if page.abs_src_path
    ]
    seen = set(waiting[1:])
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            files.append(File.generated(config, _place(path), abs_src_path=str(path)))
        if path.suffix == ".md":
            linked = {(path.parent / link).resolve() for link in _LINK.findall(path.read_text())}
            waiting += sorted(linked - seen - {path for path in linked if not _is_added(path)})
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites a page's links, removes its marks, and gives blocks that are files a title."""
    source = page.file.abs_src_path
    assert source

    def moved(link: re.Match[str]) -> str:
        target = (Path(source).parent / link[0]).resolve()
        if not target.is_file() or not target.is_relative_to(ROOT):
            return link[0]  # a link within `docs/` to a generated page, or a broken one
        return os.path.relpath(_place(target), Path(page.file.src_uri).parent)

    text = _MARK.sub("", _LINK.sub(moved, markdown))
    return _NAMED_FENCE.sub(r'\1 title="\2"', text)


def _is_added(path: Path) -> bool:
    return path.is_file() and path.is_relative_to(ROOT) and not path.is_relative_to(DOCS)


def _place(path: Path) -> str:
    """Where a file of the repository is in the site."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    return f"project/{path.relative_to(ROOT).as_posix()}"
