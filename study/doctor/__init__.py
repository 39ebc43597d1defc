"""The doctor: probes of nodes, and the checks made from what they report."""
