"""The sparse VAE: a variational auto-encoder of point sets."""
