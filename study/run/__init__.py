"""Running a study: launch, resume, float baselines, recovery and progress."""
