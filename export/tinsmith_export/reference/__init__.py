"""The graph as a tf_keras model: to run, to calibrate and to train."""
