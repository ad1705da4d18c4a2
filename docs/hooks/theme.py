"""What the theme leaves out: MkDocs calls what is here."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

_SEARCH = '<div class="md-search" data-md-component="search" role="dialog"'


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Gives the search dialog a name, for those who hear the page."""
    assert _SEARCH in output
    return output.replace(_SEARCH, f'{_SEARCH} aria-label="Search"')
