"""What was found: fronts, figures and tables of finished studies. Runs on a laptop, without ray and torch."""
