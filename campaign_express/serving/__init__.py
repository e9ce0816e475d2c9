"""The control plane on Ray Serve: the only package that imports ray. Places, supervises, scales and upgrades cells."""
