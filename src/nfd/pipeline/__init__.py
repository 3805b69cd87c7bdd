"""From a configuration to tables: what is run, with which settings, on which device."""
