"""Parts of a study that a researcher brings along: a network and penalties."""
