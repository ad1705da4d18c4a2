"""Plans, which libtinsmith runs; `docs/plan.md` describes them to the byte."""
