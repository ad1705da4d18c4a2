"""Images, features and camera frames as model inputs; each module is imported where it is used."""
