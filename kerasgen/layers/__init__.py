"""Keras layers of the zoo, written with ``keras.ops``: they run on every backend."""
