"""Keras layers, written with ``keras.ops`` for every backend."""
