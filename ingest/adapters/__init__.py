"""Everything that touches the world, one file each. Only wiring imports from here."""
