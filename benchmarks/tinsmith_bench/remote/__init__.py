"""Measuring on another machine over ssh, which is left as it was."""
