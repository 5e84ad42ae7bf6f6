"""Ready-made configurations: each folder that holds a run.yaml is a distribution of that name."""
