"""Progress of a study in the terminal."""
