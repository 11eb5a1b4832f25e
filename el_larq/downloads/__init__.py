"""Downloads into the cache: over https from allowed hosts, of limited size and time, checked by SHA-256."""
