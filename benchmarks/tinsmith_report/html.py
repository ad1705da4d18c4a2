"""Reports as one HTML file that needs no network; importing this module imports Jinja2.

A room has its own template, in its folder `templates`, that extends `page.html` and may use
`macros.html`.
"""

from collections.abc import Callable

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(package: str, template: str, printable: Callable[[str], str], **values: object) -> str:
    """Fills a template in.

    All text is escaped, in attributes too, whatever file or machine it comes from; only what the
    template marks as safe (our own SVG) is taken for HTML.

    Args:
        package: whose `templates` folder has the template.
        template: its name.
        printable: makes text harmless: what would turn the direction of writing, and the like,
            becomes its escape.
        values: what the template names.
    """

    def harmless(value: object) -> object:
        is_text = isinstance(value, str) and not isinstance(value, Markup)
        return printable(value) if is_text else value  # type: ignore[arg-type]

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("tinsmith_report")]),
        autoescape=True,
        finalize=harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)
