"""From a Keras model to the graph."""
