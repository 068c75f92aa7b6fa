"""Vision & Touch, as MultiBench publishes it."""
