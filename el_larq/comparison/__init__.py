"""Networks and methods side by side: trained with several seeds, converted, counted and timed into one table and one plot."""
