"""Exported models: SavedModels, their inspection, clients of a model server."""
