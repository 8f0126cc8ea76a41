"""Models of the zoo, one package each."""
