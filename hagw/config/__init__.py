"""YAML in, intent or a precise error out."""
