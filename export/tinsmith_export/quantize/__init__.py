"""Calibration, ranges, fake quantization, fine-tuning, and the sensitivity of each layer."""
