"""What people have, as a model takes it; each module is imported where it is used."""
