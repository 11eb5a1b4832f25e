"""Larq Zoo's pretrained networks as models: their weights files, the cache, and models by the name zoo:NAME."""
