"""Compares two reports, checks the conditions of `--fail-if`, and words the verdict."""
