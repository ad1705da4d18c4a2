"""What export writes for: one package a target, and the list of them all."""
