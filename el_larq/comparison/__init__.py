"""Comparison of networks and methods: trained with several seeds, converted and measured, with one table and one plot."""
