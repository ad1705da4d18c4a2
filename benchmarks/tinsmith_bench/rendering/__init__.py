"""A report as tables, Markdown, HTML and plots; functions of the report alone."""
