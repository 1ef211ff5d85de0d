"""Lightning modules: objective, optimiser, metrics, run folder. Importing this imports Lightning."""
