"""What was trained and measured, as one page."""
