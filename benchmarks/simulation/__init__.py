"""A study in simulated time: the product's own driver, without Ray, and workers that only say when they are done.

- `training`: what a trial reports, and how long it takes.
- `workers`: the workers, their failures, and the queue of events.
- `session`: one session of a driver, from the product's parts.
- `witness`: checks that the driver acts on durable facts alone.
- `study`: a whole study, with drivers that are killed, and the figures of its course.
"""
