"""Latency and start-up of variants, measured in processes of their own."""
