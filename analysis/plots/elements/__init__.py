"""Elements that plots share: axes, labels, legends, marks, style, and points from the literature."""
