"""The commands of the zoo for models of point sets."""
