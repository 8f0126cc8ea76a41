"""Hyper-parameter studies: KerasTuner chooses, kerasgen trains."""
