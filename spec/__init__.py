"""An executable specification of the PG_anon_exclusive bit in Linux mm."""
