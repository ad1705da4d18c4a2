"""Calibration and evaluation data, and how they become a model's inputs."""
