"""Plans, which libtinsmith runs; `docs/reference/plan.md` describes them to the byte."""
