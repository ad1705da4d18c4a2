"""The graph: its operators, and how they hang together."""
