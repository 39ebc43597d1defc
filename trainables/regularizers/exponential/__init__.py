"""RE: exponential wells, as a soft minimum over all representatives or as bounded wells, and their temperature."""
