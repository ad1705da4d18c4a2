"""The targets, a package for each, and their list."""
