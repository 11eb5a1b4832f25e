"""Evaluation of models on data sets, and prediction for image files."""
