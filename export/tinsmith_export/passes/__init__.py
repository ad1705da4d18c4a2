"""Rewrites of the graph: the outputs stay equal, and quantize better."""
