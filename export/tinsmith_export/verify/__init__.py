"""The proof: kernels, parity, gates, golden vectors."""
