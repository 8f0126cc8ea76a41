"""Recipes, released weights, and the commands that use them."""
