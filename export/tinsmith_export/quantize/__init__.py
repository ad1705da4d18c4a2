"""Calibration, ranges, fake quantization, fine-tuning, and what each layer loses."""
