"""How fast Agere is, measured against a floor in the same run: ``python -m benchmarks --help``."""
