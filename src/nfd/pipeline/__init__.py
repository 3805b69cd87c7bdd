"""From a configuration to tables of results: jobs, what runs them, and what they say about themselves."""
