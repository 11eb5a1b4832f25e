"""Training: recipes, the run folder, and the loop's callbacks."""
