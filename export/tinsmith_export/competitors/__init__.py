"""The routes that others go, for `bench --against`."""
