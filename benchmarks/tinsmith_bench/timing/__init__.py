"""How fast variants are, and what they cost to start: measured in processes of their own."""
