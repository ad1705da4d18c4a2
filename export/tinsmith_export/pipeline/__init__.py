"""Five stages, each from one frozen dataclass to the next."""
