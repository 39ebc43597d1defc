"""The Ray cluster: connecting, watching the connection, and counting what fits."""
