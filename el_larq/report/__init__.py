"""Training runs and measurements as one HTML page."""
