"""TFLite files, through TensorFlow's converter."""
