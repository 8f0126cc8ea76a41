"""Names of the files of a run of point sets, beside those of every run."""

NORMALISER, CONDITIONS = "normaliser.json", "conditions.npz"
