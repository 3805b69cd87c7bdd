"""From a configuration to tables: jobs, what they depend on, and what has been computed before."""
