"""Two reports against each other, conditions under which a benchmark fails, and the verdict."""
