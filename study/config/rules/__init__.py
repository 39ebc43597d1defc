"""Rules of a configuration that concern several keys, and checks of values that come from outside."""
