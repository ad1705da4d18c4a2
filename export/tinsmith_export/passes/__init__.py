"""Graph to graph: what leaves the outputs alone and quantizes better."""
