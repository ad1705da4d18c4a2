"""Verification: accuracy by stage, parity of the targets, gates, golden vectors."""
