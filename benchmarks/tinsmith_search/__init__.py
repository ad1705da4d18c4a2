"""Searches for the smallest model that meets a goal, over many machines and boards."""
