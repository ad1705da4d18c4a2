"""Accuracy, agreement with float and latency, with their intervals, from raw measurements."""
