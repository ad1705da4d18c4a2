"""Other routes from the same Keras model, for `bench --against`."""
