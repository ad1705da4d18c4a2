"""Measures on another machine over ssh, and leaves nothing there."""
