"""Training: recipes, the run folder, the training loop and the state it can be resumed from."""
