"""Keras layers of the zoo, written with ``keras.ops`` for every backend."""
